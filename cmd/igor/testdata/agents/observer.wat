;; An agent that keeps what it observes: its state is the time of its last tick,
;; 16 random bytes and the result of drawing them, and it logs a word.
;;
;; observer.wasm is what wat2wasm makes of it.
(module
  (import "igor" "clock_now" (func $clock_now (result i64)))
  (import "igor" "rand_bytes" (func $rand_bytes (param i32 i32) (result i32)))
  (import "igor" "log_emit" (func $log_emit (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "observed")
  (func (export "agent_init"))
  (func (export "agent_tick")
    (i64.store (i32.const 0) (call $clock_now))
    (i32.store (i32.const 24) (call $rand_bytes (i32.const 8) (i32.const 16)))
    (call $log_emit (i32.const 512) (i32.const 8)))
  (func (export "agent_checkpoint") (result i32) (i32.const 28))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (memory.copy (i32.const 0) (local.get $ptr) (local.get $len)))
  (func (export "malloc") (param $size i32) (result i32) (i32.const 1024)))
