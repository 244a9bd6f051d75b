;; The agent whose lives are the vectors here. Its state is 28 bytes, little-endian:
;; u64 ticks, i64 the time of its last agent_resume, i64 the time of its last tick,
;; 4 random bytes. It logs a word in each tick, and draws 4,100 bytes in the sixth.
;;
;; agent.wasm is what wat2wasm makes of it.
(module
  (import "igor" "clock_now" (func $clock_now (result i64)))
  (import "igor" "rand_bytes" (func $rand_bytes (param i32 i32) (result i32)))
  (import "igor" "log_emit" (func $log_emit (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "born")
  (data (i32.const 528) "tick")
  (func (export "agent_init") (call $log_emit (i32.const 512) (i32.const 4)))
  (func (export "agent_tick") (result i32)
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (i64.store (i32.const 16) (call $clock_now))
    (if (i64.eq (i64.load (i32.const 0)) (i64.const 6))
      (then (drop (call $rand_bytes (i32.const 1024) (i32.const 4100))) (i32.store (i32.const 24) (i32.load (i32.const 1024))))
      (else (drop (call $rand_bytes (i32.const 24) (i32.const 4)))))
    (call $log_emit (i32.const 528) (i32.const 4))
    (i32.wrap_i64 (i64.and (i64.load (i32.const 0)) (i64.const 1))))
  (func (export "agent_checkpoint") (result i32) (i32.const 28))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (memory.copy (i32.const 0) (local.get $ptr) (local.get $len))
    (i64.store (i32.const 8) (call $clock_now)))
  (func (export "malloc") (param i32) (result i32) (i32.const 8192)))
