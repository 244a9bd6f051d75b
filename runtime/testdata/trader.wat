;; An agent that acts outside and keeps a store. In every tick it asks for the
;; time and puts it into its store. In ticks 2, 6, 10 … it sends the time to the
;; server at 127.0.0.1:00000 (a test puts a port there), with room for an answer that
;; is a payload of its own; in 4, 8, 12 … it pays one microcent to "shop".
;;
;; Its state is 88 bytes, little-endian u64: ticks; POSTs, and how many of them were
;; answered with 200, how many are unresolved, how many failed; payments, and of
;; them the same; the result of its last call (i64).
;;
;; trader.wasm is what wat2wasm makes of it.
(module
  (import "igor" "http_request" (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "igor" "wallet_pay" (func $pay (param i64 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "igor" "clock_now" (func $now (result i64)))
  (import "igor" "kv_put" (func $put (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "POST")
  (data (i32.const 528) "http://127.0.0.1:00000/")
  (data (i32.const 560) "shop")
  (func $bump (param $at i32)
    (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1))))
  ;; Counts a result at $at (good), 8 further (unresolved) or 16 further (failed).
  (func $count (param $at i32) (param $result i32) (param $good i32)
    (i64.store (i32.const 80) (i64.extend_i32_s (local.get $result)))
    (if (local.get $good)
      (then (call $bump (local.get $at)))
      (else (if (i32.eq (local.get $result) (i32.const -7))
        (then (call $bump (i32.add (local.get $at) (i32.const 8))))
        (else (call $bump (i32.add (local.get $at) (i32.const 16))))))))
  (func $send (local $result i32)
    (call $bump (i32.const 8))
    (local.set $result (call $http (i32.const 512) (i32.const 4) (i32.const 528) (i32.const 23)
      (i32.const 0) (i32.const 0) (i32.const 600) (i32.const 8) (i32.const 16384) (i32.const 16384)))
    (call $count (i32.const 16) (local.get $result) (i32.eq (local.get $result) (i32.const 200))))
  (func $buy (local $result i32)
    (call $bump (i32.const 40))
    (local.set $result (call $pay (i64.const 1) (i32.const 560) (i32.const 4)
      (i32.const 40) (i32.const 8) (i32.const 2048) (i32.const 2048)))
    (call $count (i32.const 48) (local.get $result) (i32.gt_s (local.get $result) (i32.const 0))))
  (func (export "agent_init"))
  (func (export "agent_tick") (result i32) (local $phase i64)
    (i64.store (i32.const 600) (call $now))
    (drop (call $put (i32.const 560) (i32.const 4) (i32.const 600) (i32.const 8)))
    (call $bump (i32.const 0))
    (local.set $phase (i64.and (i64.load (i32.const 0)) (i64.const 3)))
    (if (i64.eq (local.get $phase) (i64.const 2)) (then (call $send)))
    (if (i64.eq (local.get $phase) (i64.const 0)) (then (call $buy)))
    (i32.const 1))
  (func (export "agent_checkpoint") (result i32) (i32.const 88))
  (func (export "agent_checkpoint_ptr") (result i32) (i32.const 0))
  (func (export "agent_resume") (param $ptr i32) (param $len i32)
    (memory.copy (i32.const 0) (local.get $ptr) (local.get $len)))
  (func (export "malloc") (param i32) (result i32) (i32.const 4096)))
