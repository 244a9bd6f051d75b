use alloc::format;
use alloc::string::{String, ToString};

/// Writes a number of units that are 10^-`places` each: `decimal(6412345, 2)` is `64123.45`.
/// Amounts are whole numbers in an agent, and a budget has six places.
pub fn decimal(units: i64, places: usize) -> String {
    let mut digits = units.unsigned_abs().to_string();
    if digits.len() <= places {
        digits = format!("{:0>1$}", digits, places + 1);
    }
    if places > 0 {
        digits.insert(digits.len() - places, '.');
    }
    if units < 0 {
        digits.insert(0, '-');
    }
    digits
}
