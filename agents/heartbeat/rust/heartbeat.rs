//! Heartbeat is an agent that counts its ticks, and says so every tenth time: the smallest life
//! worth verifying.

use igor_sdk::{agent, clock, log, state, Agent, Next, Time};

state! {
    version 1;
    /// A heart beats once a tick.
    #[derive(Default)]
    struct Heart {
        beats: u64,
        last: Time,
    }
}

impl Agent for Heart {
    fn init(&mut self) {
        log!("alive");
    }

    fn tick(&mut self) -> Next {
        self.beats += 1;
        self.last = clock::now();
        if self.beats % 10 == 0 {
            log!("beat {}", self.beats);
        }
        Next::Idle
    }
}

agent!(Heart);

#[cfg(test)]
mod tests {
    use super::*;
    use igor_sdk::testing::World;

    /// Lives for a while, goes on in a fresh heart, and finds the count.
    #[test]
    fn life() {
        let world = World::new();
        let mut heart = Heart::default();
        heart.init();
        for _ in 0..25 {
            let now = world.time();
            assert_eq!(heart.tick(), Next::Idle);
            assert_eq!(heart.last, now);
            heart = world.restart(heart);
        }
        assert_eq!(heart.beats, 25);
        assert_eq!(world.lines(), ["alive", "beat 10", "beat 20"]);
    }
}
