//! An allocator for agents without the standard library. Where a block lies follows from what
//! was allocated before, and from nothing else.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const PAGE: usize = 1 << 16;
const SMALLEST: u32 = 4; // 16 bytes

/// Blocks have a power of two bytes. Each size has a list of those that were freed; if it is
/// empty, a block is cut from the end of the memory.
struct Heap(UnsafeCell<Blocks>);

struct Blocks {
    free: [*mut u8; 32],
    next: usize,
    end: usize,
}

unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Blocks {
    free: [null_mut(); 32],
    next: 0,
    end: 0,
}));

fn class(l: Layout) -> usize {
    let size = l.size().max(l.align()).max(1 << SMALLEST);
    (usize::BITS - (size - 1).leading_zeros()) as usize
}

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        let (h, c) = (&mut *self.0.get(), class(l));
        if c >= h.free.len() {
            return null_mut();
        }
        let block = h.free[c];
        if !block.is_null() {
            h.free[c] = *(block as *mut *mut u8);
            return block;
        }
        let size = 1usize << c;
        if h.end - h.next < size {
            let pages = (size + PAGE - 1) / PAGE;
            let grown = memory_grow(0, pages);
            if grown == usize::MAX {
                return null_mut();
            }
            if grown * PAGE != h.end {
                h.next = grown * PAGE;
            }
            h.end = memory_size(0) * PAGE;
        }
        // A block lies at a multiple of its alignment, which may leave a gap.
        let at = (h.next + l.align() - 1) & !(l.align() - 1);
        if h.end - h.next < size + (at - h.next) {
            return null_mut();
        }
        h.next = at + size;
        at as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, l: Layout) {
        let (h, c) = (&mut *self.0.get(), class(l));
        *(block as *mut *mut u8) = h.free[c];
        h.free[c] = block;
    }

    unsafe fn realloc(&self, block: *mut u8, l: Layout, size: usize) -> *mut u8 {
        let new = Layout::from_size_align_unchecked(size, l.align());
        if class(new) == class(l) {
            return block;
        }
        let to = self.alloc(new);
        if !to.is_null() {
            core::ptr::copy_nonoverlapping(block, to, size.min(l.size()));
            self.dealloc(block, l);
        }
        to
    }
}
