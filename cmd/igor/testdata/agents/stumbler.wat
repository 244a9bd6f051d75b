;; An agent that acts outside in every tick, and fails in some of those ticks after
;; it acted: it sends eight random bytes to the server at 127.0.0.1:00000 (a test
;; puts a port there), and traps if the first two bits of eight more are zero.
;;
;; Its state is how many ticks did not fail, a little-endian u64 at address 0.
;;
;; stumbler.wasm is what wat2wasm makes of it.
(module
  (import "igor" "http_request" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "igor" "rand_bytes" (func $rand (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "POST")
  (data (i32.const 528) "http://127.0.0.1:00000/")
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32)
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (drop (call $rand (i32.const 64) (i32.const 16)))
    (drop (call $http (i32.const 512) (i32.const 4) (i32.const 528) (i32.const 23)
      (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 1024) (i32.const 1024)))
    (if (i32.eqz (i32.and (i32.load (i32.const 72)) (i32.const 3))) (then unreachable))
    (i32.const 1))
  (func (export "agent_checkpoint") (result i32) (i32.const 8))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (i64.store (i32.const 0) (i64.load (local.get $ptr))))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096)))
