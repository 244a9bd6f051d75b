//! A panic is reported on standard error, which reaches the operator and needs no capability.

use core::fmt::{self, Write};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
extern "C" {
    fn fd_write(fd: i32, parts: *const Part, count: usize, written: *mut usize) -> i32;
}

#[repr(C)]
struct Part {
    ptr: *const u8,
    len: usize,
}

struct Stderr;

impl Write for Stderr {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let part = Part {
            ptr: s.as_ptr(),
            len: s.len(),
        };
        let mut written = 0;
        unsafe { fd_write(2, &part, 1, &mut written) };
        Ok(())
    }
}

/// Makes panics be reported.
#[cfg(feature = "std")]
pub(crate) fn report() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(std::boxed::Box::new(|info| {
            let _ = writeln!(Stderr, "{}", info);
        }));
    });
}

#[cfg(not(feature = "std"))]
pub(crate) fn report() {}

#[cfg(not(feature = "std"))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Stderr, "{}", info);
    core::arch::wasm32::unreachable()
}
