//! Serial number arithmetic (RFC 1982) on TCP sequence numbers (RFC 9293, section 3.4).

/// Whether `a` comes before `b` on the circle of sequence numbers.
#[inline(always)]
#[must_use]
pub const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b` on the circle of sequence numbers.
#[inline(always)]
#[must_use]
pub const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// How far `to` lies behind `from`, in bytes; 0 where `to` comes first.
#[inline(always)]
#[must_use]
pub const fn distance(from: u32, to: u32) -> u32 {
    if before(to, from) { 0 } else { to.wrapping_sub(from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circle_wraps() {
        assert!(before(u32::MAX, 0));
        assert!(after(3, u32::MAX - 3));
        assert!(!before(7, 7) && !after(7, 7));
        assert_eq!(distance(u32::MAX, 1), 2);
        assert_eq!(distance(1, u32::MAX), 0);
    }
}
