//! The hostcalls of docs/spec/abi.md. The linker leaves out what an agent does not call, so it
//! imports what it uses and nothing else.

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "igor")]
    extern "C" {
        pub fn clock_now() -> i64;
        pub fn rand_bytes(ptr: *mut u8, len: usize) -> i32;
        pub fn log_emit(ptr: *const u8, len: usize);
        pub fn wallet_balance() -> i64;
        pub fn wallet_receipt_count() -> i32;
        pub fn wallet_receipt(index: u32, ptr: *mut u8, cap: usize) -> i32;
        pub fn node_price() -> i64;
        #[allow(clippy::too_many_arguments)]
        pub fn http_request(
            method: *const u8,
            method_len: usize,
            url: *const u8,
            url_len: usize,
            headers: *const u8,
            headers_len: usize,
            body: *const u8,
            body_len: usize,
            resp: *mut u8,
            resp_cap: usize,
        ) -> i32;
        pub fn wallet_pay(
            amount: i64,
            recipient: *const u8,
            recipient_len: usize,
            memo: *const u8,
            memo_len: usize,
            receipt: *mut u8,
            receipt_cap: usize,
        ) -> i32;
        pub fn kv_get(key: *const u8, key_len: usize, val: *mut u8, val_cap: usize) -> i32;
        pub fn kv_put(key: *const u8, key_len: usize, val: *const u8, val_len: usize) -> i32;
        pub fn kv_delete(key: *const u8, key_len: usize) -> i32;
        pub fn node_id(ptr: *mut u8, cap: usize) -> i32;
        pub fn peer_count() -> i32;
        pub fn peer_offer(index: u32, ptr: *mut u8, cap: usize) -> i32;
        pub fn migrate(did: *const u8, did_len: usize) -> i32;
        pub fn migrate_status() -> i32;
        pub fn drain_deadline() -> i64;
    }
}

/// Safe names for them. Outside of WebAssembly the same names are in `testing`.
#[cfg(target_arch = "wasm32")]
mod calls {
    use super::host;

    pub fn clock_now() -> i64 {
        unsafe { host::clock_now() }
    }
    pub fn rand_bytes(b: &mut [u8]) -> i32 {
        unsafe { host::rand_bytes(b.as_mut_ptr(), b.len()) }
    }
    pub fn log_emit(line: &[u8]) {
        unsafe { host::log_emit(line.as_ptr(), line.len()) }
    }
    pub fn wallet_balance() -> i64 {
        unsafe { host::wallet_balance() }
    }
    pub fn wallet_receipt_count() -> i32 {
        unsafe { host::wallet_receipt_count() }
    }
    pub fn wallet_receipt(index: u32, b: &mut [u8]) -> i32 {
        unsafe { host::wallet_receipt(index, b.as_mut_ptr(), b.len()) }
    }
    pub fn node_price() -> i64 {
        unsafe { host::node_price() }
    }
    pub fn http_request(
        method: &[u8],
        url: &[u8],
        headers: &[u8],
        body: &[u8],
        b: &mut [u8],
    ) -> i32 {
        unsafe {
            host::http_request(
                method.as_ptr(),
                method.len(),
                url.as_ptr(),
                url.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                b.as_mut_ptr(),
                b.len(),
            )
        }
    }
    pub fn wallet_pay(amount: i64, recipient: &[u8], memo: &[u8], b: &mut [u8]) -> i32 {
        unsafe {
            host::wallet_pay(
                amount,
                recipient.as_ptr(),
                recipient.len(),
                memo.as_ptr(),
                memo.len(),
                b.as_mut_ptr(),
                b.len(),
            )
        }
    }
    pub fn kv_get(key: &[u8], b: &mut [u8]) -> i32 {
        unsafe { host::kv_get(key.as_ptr(), key.len(), b.as_mut_ptr(), b.len()) }
    }
    pub fn kv_put(key: &[u8], value: &[u8]) -> i32 {
        unsafe { host::kv_put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
    }
    pub fn kv_delete(key: &[u8]) -> i32 {
        unsafe { host::kv_delete(key.as_ptr(), key.len()) }
    }
    pub fn node_id(b: &mut [u8]) -> i32 {
        unsafe { host::node_id(b.as_mut_ptr(), b.len()) }
    }
    pub fn peer_count() -> i32 {
        unsafe { host::peer_count() }
    }
    pub fn peer_offer(index: u32, b: &mut [u8]) -> i32 {
        unsafe { host::peer_offer(index, b.as_mut_ptr(), b.len()) }
    }
    pub fn migrate(did: &[u8]) -> i32 {
        unsafe { host::migrate(did.as_ptr(), did.len()) }
    }
    pub fn migrate_status() -> i32 {
        unsafe { host::migrate_status() }
    }
    pub fn drain_deadline() -> i64 {
        unsafe { host::drain_deadline() }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use calls::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::calls::*;

use crate::error::{Error, Of};
use alloc::vec;
use alloc::vec::Vec;

/// The length before a body or a receipt, and the size that a buffer would need.
pub(crate) const SIZE: usize = 4;

/// Reads the number that a buffer begins with.
pub(crate) fn number(b: &[u8]) -> usize {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize
}

/// What is in a buffer behind its length.
pub(crate) fn sized(mut b: Vec<u8>) -> Option<Vec<u8>> {
    let n = number(&b);
    if n > b.len() - SIZE {
        return None;
    }
    b.drain(..SIZE);
    b.truncate(n);
    Some(b)
}

/// Calls with a buffer of `room` bytes, and once more if that is too small and `max` would do.
pub(crate) fn fetch(
    call: &'static str,
    of: Of,
    room: usize,
    max: usize,
    mut f: impl FnMut(&mut [u8]) -> i32,
) -> Result<Vec<u8>, Error> {
    const NO_ROOM: i32 = -4;
    let mut room = room;
    loop {
        let mut b = vec![0; room];
        let n = f(&mut b);
        if n >= 0 {
            b.truncate(n as usize);
            return Ok(b);
        }
        let needed = number(&b);
        if n != NO_ROOM || needed <= room || needed > max {
            return Err(Error::of(call, n, of));
        }
        room = needed;
    }
}
