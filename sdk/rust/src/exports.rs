//! What [`agent!`](crate::agent!) makes the exports of an agent with.

use crate::{Agent, Next};
use alloc::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use alloc::vec::Vec;
use core::cell::UnsafeCell;

/// The one agent of a program. WebAssembly has one thread, and the host calls one export at a
/// time.
pub struct Cell<A>(UnsafeCell<(Option<A>, Vec<u8>)>);

unsafe impl<A> Sync for Cell<A> {}

impl<A: Agent> Cell<A> {
    pub const fn new() -> Cell<A> {
        Cell(UnsafeCell::new((None, Vec::new())))
    }

    #[allow(clippy::mut_from_ref)]
    fn agent(&self) -> &mut A {
        crate::panic::report();
        unsafe { &mut *self.0.get() }
            .0
            .get_or_insert_with(A::default)
    }

    pub fn init(&self) {
        self.agent().init();
    }

    pub fn tick(&self) -> i32 {
        match crate::findings::tick(self.agent()) {
            Next::Idle => 0,
            Next::More => 1,
        }
    }

    /// Saves the state, which stays where it is until the next time.
    pub fn checkpoint(&self) -> usize {
        let state = self.agent().save();
        let kept = unsafe { &mut (*self.0.get()).1 };
        *kept = state;
        kept.len()
    }

    pub fn checkpoint_ptr(&self) -> *const u8 {
        unsafe { &(*self.0.get()).1 }.as_ptr()
    }

    /// # Safety
    ///
    /// The bytes are those of a [`malloc`] of this length.
    pub unsafe fn resume(&self, ptr: *mut u8, len: usize) {
        crate::panic::report();
        let state = A::load(core::slice::from_raw_parts(ptr, len));
        dealloc(ptr, layout(len));
        match state {
            Ok(agent) => (*self.0.get()).0 = Some(agent),
            Err(e) => panic!("the state cannot be restored: {}", e),
        }
    }

    /// # Safety
    ///
    /// The bytes are those of a [`malloc`] of this length.
    pub unsafe fn observe(&self, ptr: *mut u8, len: usize) {
        let finding = core::slice::from_raw_parts(ptr, len).to_vec();
        dealloc(ptr, layout(len));
        if crate::findings::observe(self.agent(), &finding).is_err() {
            panic!("a finding that cannot be read");
        }
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len.max(1), 8).expect("a length")
}

pub fn malloc(len: usize) -> *mut u8 {
    let p = unsafe { alloc(layout(len)) };
    if p.is_null() {
        handle_alloc_error(layout(len));
    }
    p
}
