;; An agent that fails at its seventh tick, in every life.
;;
;; trap.wasm is what wat2wasm makes of it.
(module
  (memory (export "memory") 1)
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (if (i64.eq (i64.load (i32.const 0)) (i64.const 7)) (then unreachable))
    (i32.const 1))
  (func (export "agent_checkpoint") (result i32) (i32.const 8))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (i64.store (i32.const 0) (i64.load (local.get $ptr))))
  (func (export "malloc") (param $size i32) (result i32) (i32.const 1024)))
