;; An agent written by hand: it counts its ticks, imports nothing, and is idle
;; at every fifth tick. Its state is the count, a little-endian u64 at address 0.
;;
;; counter.wasm is what wat2wasm makes of it.
(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (i64.ne (i64.rem_u (i64.load (i32.const 0)) (i64.const 5)) (i64.const 0)))
  (func (export "agent_checkpoint") (result i32) (i32.const 8))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (if (i32.ne (local.get $len) (i32.const 8)) (then unreachable))
    (i64.store (i32.const 0) (i64.load (local.get $ptr))))
  (func (export "malloc") (param $size i32) (result i32) (i32.const 1024)))
