//! Which public keys may become an account's.

use chaoschain_schemas::PublicKey;
use curve25519_dalek::edwards::CompressedEdwardsY;

/// Whether `key` is a curve point in canonical form and not of small order.
///
/// Signatures are verified by ZIP-215, which accepts more: a key of small order would have signatures that hold for
/// any message, and one point in two forms would be two accounts.
pub fn is_registrable(key: &PublicKey) -> bool {
    let Some(point) = CompressedEdwardsY(*key.as_bytes()).decompress() else { return false };
    point.compress().as_bytes() == key.as_bytes() && !point.is_small_order()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> PublicKey {
        hex.parse().unwrap()
    }

    #[test]
    fn small_order_and_second_forms_are_refused() {
        // RFC 8032, test 1.
        assert!(is_registrable(&key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")));
        // The same point of large order, y = 3, as itself and as 3 plus the field's prime.
        assert!(is_registrable(&key("0300000000000000000000000000000000000000000000000000000000000000")));
        assert!(!is_registrable(&key("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")));
        let identity = "0100000000000000000000000000000000000000000000000000000000000000";
        let order_2 = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        let order_4 = "0000000000000000000000000000000000000000000000000000000000000000";
        let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        let identity_not_canonical = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        let identity_signed = "0100000000000000000000000000000000000000000000000000000000000080";
        let no_point = "0200000000000000000000000000000000000000000000000000000000000000";
        for weak in [identity, order_2, order_4, order_8, identity_not_canonical, identity_signed, no_point] {
            assert!(!is_registrable(&key(weak)), "{weak}");
        }
    }
}
