;; An agent that keeps its count of ticks outside its state, and loses it at every
;; checkpoint.
;;
;; forgetful.wasm is what wat2wasm makes of it.
(module
  (memory (export "memory") 1)
  (global $ticks (mut i32) (i32.const 0))
  (func (export "agent_init"))
  (func (export "agent_tick")
    (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
    (i32.store (i32.const 0) (global.get $ticks)))
  (func (export "agent_checkpoint") (result i32) (i32.const 4))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (memory.copy (i32.const 0) (local.get $ptr) (local.get $len)))
  (func (export "malloc") (param $size i32) (result i32) (i32.const 1024)))
