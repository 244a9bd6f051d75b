//! One module a capability, as docs/spec/abi.md has them.

/// The time of the machine that the agent lives on.
pub mod clock {
    use crate::{abi, Time};

    /// The time now.
    pub fn now() -> Time {
        Time::from_unix_nanos(abi::clock_now())
    }
}

/// Randomness of the machine that the agent lives on.
pub mod rand {
    use crate::abi;
    use crate::error::{Error, Of};

    /// The most bytes that one [`fill`] takes.
    pub const MAX: usize = 1 << 20;

    /// Fills `b` with random bytes.
    pub fn fill(b: &mut [u8]) -> Result<(), Error> {
        match b.len() {
            0 => Ok(()),
            _ => match abi::rand_bytes(b) {
                n if n < 0 => Err(Error::of("rand_bytes", n, Of::Rand)),
                _ => Ok(()),
            },
        }
    }

    /// Returns `N` random bytes.
    pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
        let mut b = [0; N];
        fill(&mut b)?;
        Ok(b)
    }
}

/// The agent's log.
pub mod log {
    use crate::abi;

    /// How many bytes of a line are kept.
    pub const MAX: usize = 4096;

    /// Writes a line for the operator. [`log!`](crate::log!) formats one.
    pub fn line(line: &str) {
        if !line.is_empty() {
            abi::log_emit(line.as_bytes());
        }
    }
}

/// A store that is part of the agent's state, beside what it saves.
pub mod kv {
    use crate::abi;
    use crate::error::{Error, Of};
    use alloc::vec::Vec;

    /// The most bytes of a key.
    pub const MAX_KEY: usize = 1 << 10;
    /// The most bytes of a value.
    pub const MAX_VALUE: usize = 1 << 20;

    /// Returns a value, or [`NotFound`](crate::ErrorKind::NotFound).
    pub fn get(key: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let key = key.as_ref();
        abi::fetch("kv_get", Of::Kv, 16 << 10, MAX_VALUE, |b| {
            abi::kv_get(key, b)
        })
    }

    /// Sets a value.
    pub fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        done("kv_put", abi::kv_put(key.as_ref(), value.as_ref()))
    }

    /// Removes a value, or returns [`NotFound`](crate::ErrorKind::NotFound).
    pub fn delete(key: impl AsRef<[u8]>) -> Result<(), Error> {
        done("kv_delete", abi::kv_delete(key.as_ref()))
    }

    fn done(call: &'static str, n: i32) -> Result<(), Error> {
        if n < 0 {
            return Err(Error::of(call, n, Of::Kv));
        }
        Ok(())
    }
}

/// The budget that is left, and what was paid. Amounts are in microcents.
pub mod wallet {
    use crate::abi;
    use crate::error::{Error, Of};
    use alloc::vec::Vec;

    pub(crate) const MAX_RECEIPT: usize = 1452;

    /// The budget that is left.
    pub fn balance() -> i64 {
        abi::wallet_balance()
    }

    /// How many receipts there are of the agent's payments.
    pub fn receipts() -> u32 {
        abi::wallet_receipt_count().max(0) as u32
    }

    /// One of them, from 0 on, as docs/spec/receipts.md has it.
    pub fn receipt(index: u32) -> Result<Vec<u8>, Error> {
        abi::fetch(
            "wallet_receipt",
            Of::Wallet,
            MAX_RECEIPT,
            MAX_RECEIPT,
            |b| abi::wallet_receipt(index, b),
        )
    }
}

/// What the machine asks for.
pub mod pricing {
    use crate::abi;

    /// What a second of tick time costs, in microcents.
    pub fn price() -> i64 {
        abi::node_price()
    }
}

/// Payments.
pub mod x402 {
    use super::wallet::MAX_RECEIPT;
    use crate::abi;
    use crate::error::{Error, Of};
    use crate::findings;
    use alloc::vec;
    use alloc::vec::Vec;

    const KIND: u8 = 9;

    /// Pays an amount of microcents to a recipient that the manifest allows, and returns the
    /// receipt. A payment is a side effect: see [`EffectLog`](crate::effects::EffectLog).
    pub fn pay(amount: i64, recipient: &str, memo: &str) -> Result<Vec<u8>, Error> {
        const CALL: &str = "wallet_pay";
        let mut b = vec![0; abi::SIZE + MAX_RECEIPT];
        let request = || {
            let mut q = amount.to_le_bytes().to_vec();
            for part in [recipient, memo] {
                findings::part(&mut q, part.as_bytes());
            }
            q
        };
        let n = findings::side_effect(KIND, true, request, &mut b, |b| {
            abi::wallet_pay(amount, recipient.as_bytes(), memo.as_bytes(), b)
        });
        if n < 0 {
            return Err(Error::of(CALL, n, Of::Pay));
        }
        abi::sized(b).ok_or_else(|| Error::of(CALL, -6, Of::Pay))
    }
}

/// The node that the agent lives on, and its peers. Elsewhere these are
/// [`NotOnNode`](crate::ErrorKind::NotOnNode).
pub mod node {
    use crate::abi;
    use crate::error::{Error, Of};
    use crate::Time;
    use alloc::string::String;
    use alloc::vec::Vec;

    const MAX_DID: usize = 4 << 10;
    const MAX_OFFER: usize = 64 << 10;

    /// Where a wish to [`migrate`] stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Migration {
        /// Nothing was asked for.
        None,
        /// Asked for, and not over.
        Asked,
        /// The agent has moved.
        Moved,
    }

    /// The node's DID.
    pub fn id() -> Result<String, Error> {
        const CALL: &str = "node_id";
        let b = abi::fetch(CALL, Of::Node, 128, MAX_DID, abi::node_id)?;
        String::from_utf8(b).map_err(|_| Error::of(CALL, -6, Of::Node))
    }

    /// How many peers have an offer that the manifest allows.
    pub fn peers() -> Result<u32, Error> {
        result("peer_count", abi::peer_count())
    }

    /// The signed offer of one of them, from 0 on.
    pub fn offer(index: u32) -> Result<Vec<u8>, Error> {
        abi::fetch("peer_offer", Of::Node, 1 << 10, MAX_OFFER, |b| {
            abi::peer_offer(index, b)
        })
    }

    /// Asks to be moved to a node, after this tick's checkpoint.
    pub fn migrate(did: &str) -> Result<(), Error> {
        result("migrate", abi::migrate(did.as_bytes())).map(|_| ())
    }

    /// Where the newest wish stands, or why it failed.
    pub fn migration() -> Result<Migration, Error> {
        result("migrate_status", abi::migrate_status()).map(|n| match n {
            0 => Migration::None,
            1 => Migration::Asked,
            _ => Migration::Moved,
        })
    }

    /// When the node wants to be empty, if it does.
    pub fn drain_deadline() -> Result<Option<Time>, Error> {
        match abi::drain_deadline() {
            0 => Ok(None),
            n if n < 0 => Err(Error::of("drain_deadline", n as i32, Of::Node)),
            n => Ok(Some(Time::from_unix_nanos(n))),
        }
    }

    fn result(call: &'static str, n: i32) -> Result<u32, Error> {
        if n < 0 {
            return Err(Error::of(call, n, Of::Node));
        }
        Ok(n as u32)
    }
}
