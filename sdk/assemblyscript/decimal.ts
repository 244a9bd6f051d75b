/**
 * Writes a number of units that are 10^-places each: decimal(6412345, 2) is "64123.45". Amounts are
 * whole numbers in an agent, and a budget has six places.
 */
export function decimal(units: i64, places: i32): string {
  const size: u64 = units < 0 ? u64(0) - u64(units) : u64(units);
  let digits = size.toString().padStart(places + 1, "0");
  if (places > 0) digits = digits.slice(0, -places) + "." + digits.slice(-places);
  return units < 0 ? "-" + digits : digits;
}
