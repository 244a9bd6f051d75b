//! Makes a Rust program an [Igor](https://igor.dev) agent. `igor new --lang rust NAME` makes one
//! to begin with.
//!
//! An agent is a state and two methods:
//!
//! ```
//! use igor_sdk::{agent, clock, log, state, Agent, Next, Time};
//!
//! state! {
//!     version 1;
//!     #[derive(Default)]
//!     struct Heart {
//!         beats: u64,
//!         last: Time,
//!     }
//! }
//!
//! impl Agent for Heart {
//!     fn tick(&mut self) -> Next {
//!         self.beats += 1;
//!         self.last = clock::now();
//!         log!("beat {}", self.beats);
//!         Next::Idle
//!     }
//! }
//!
//! agent!(Heart);
//! # fn main() {}
//! ```
//!
//! The crate is a `cdylib`, built for `wasm32-unknown-unknown`. The manifest beside the program
//! has to declare the capability of each module that it uses: [`clock`], [`rand`], [`mod@log`],
//! [`kv`], [`wallet`], [`pricing`], [`http`], [`x402`], [`node`].
//!
//! What [`State::save`](state::State::save) returns is all that lives on. After every checkpoint
//! the agent goes on as a fresh instance of the program: statics are gone by then. Whether
//! something was forgotten, `igor simulate --verify` finds out.
//!
//! Hostcalls work in `init` and `tick`, and those that stay in the machine (all but [`http`] and
//! [`x402`]) in `load` too. Side effects ([`x402::pay`], and [`http`] with anything but `GET` and
//! `HEAD`) work in `tick` alone.
//!
//! Outside of WebAssembly, as in `cargo test`, the agent lives in a [`testing::World`].

#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(feature = "std", not(target_arch = "wasm32")))]
extern crate std;

mod abi;
mod capabilities;
mod decimal;
mod digest;
pub mod effects;
mod error;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod exports;
pub mod findings;
#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
mod heap;
pub mod http;
#[cfg(target_arch = "wasm32")]
mod panic;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;

pub use capabilities::{clock, kv, log, node, pricing, rand, wallet, x402};
pub use decimal::decimal;
pub use error::{Error, ErrorKind};
pub use time::Time;

#[doc(hidden)]
pub use alloc::format as format_line;

/// An agent. The methods are never called at the same time.
pub trait Agent: state::State + Default {
    /// Is called once in the agent's life, before its first tick.
    fn init(&mut self) {}

    /// Does one step. It has 15 seconds; what takes longer has to be spread over several ticks.
    fn tick(&mut self) -> Next;

    /// Hears what the host found out about a side effect, with the open intent that it is about,
    /// if there is one: see [`findings`]. It counts what happened, as after an act, and returns
    /// true: the intent is over then. With false, as by default, it stays open, for the agent to
    /// ask: what it has to count, nobody else knows.
    ///
    /// Of what was found out before its request was made, it gets the outcome alone, at the start
    /// of the tick after that request. Side effects do not work in it.
    fn observe(&mut self, _finding: &findings::Finding, _intent: Option<&effects::Intent>) -> bool {
        false
    }
}

/// What an agent has to do after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the next tick comes after a second.
    Idle,
    /// More: the next tick comes after 10 ms.
    More,
}

/// Makes a type the program's agent.
#[macro_export]
macro_rules! agent {
    ($agent:ty) => {
        const _: () = {
            const fn is_an_agent<A: $crate::Agent>() {}
            is_an_agent::<$agent>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::exports::{malloc as make_room, Cell};

            static AGENT: Cell<$agent> = Cell::new();

            #[no_mangle]
            pub extern "C" fn agent_init() {
                AGENT.init()
            }

            #[no_mangle]
            pub extern "C" fn agent_tick() -> i32 {
                AGENT.tick()
            }

            #[no_mangle]
            pub extern "C" fn agent_checkpoint() -> usize {
                AGENT.checkpoint()
            }

            #[no_mangle]
            pub extern "C" fn agent_checkpoint_ptr() -> *const u8 {
                AGENT.checkpoint_ptr()
            }

            #[no_mangle]
            pub unsafe extern "C" fn agent_resume(ptr: *mut u8, len: usize) {
                AGENT.resume(ptr, len)
            }

            #[no_mangle]
            pub unsafe extern "C" fn agent_observe(ptr: *mut u8, len: usize) {
                AGENT.observe(ptr, len)
            }

            #[no_mangle]
            pub extern "C" fn malloc(len: usize) -> *mut u8 {
                make_room(len)
            }
        };
    };
    ($($other:tt)*) => {
        ::core::compile_error!("agent! takes the type of the agent: agent!(Heart);");
    };
}

/// Writes a line to the agent's log, as `format!` does. It needs the capability `log`.
#[macro_export]
macro_rules! log {
    ($($line:tt)*) => { $crate::log::line(&$crate::format_line!($($line)*)) };
}
