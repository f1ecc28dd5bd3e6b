//! Which addresses are everybody's, and ranges of those that are not.
//!
//! Invariant: an address that is not known to be public is not: of IPv6 only what is given out for
//! unicast is, less what embeds an IPv4 address or is set aside.

use ipnet::IpNet;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressRange(IpNet);

impl AddressRange {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The addresses that are in both: of two prefixes one is within the other, or they have none.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        [(self, other), (other, self)]
            .into_iter()
            .find_map(|(outer, inner)| outer.0.contains(&inner.0).then_some(inner))
    }
}

impl Display for AddressRange {
    /// As it is parsed.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(formatter)
        } else {
            self.0.fmt(formatter)
        }
    }
}

impl FromStr for AddressRange {
    type Err = String;

    /// An address, or a prefix as CIDR has it.
    fn from_str(text: &str) -> Result<Self, String> {
        let one = || text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse::<IpNet>()
            .ok()
            .or_else(one)
            .map(|net| Self(net.trunc()))
            .ok_or_else(|| format!("'{text}' is no address, and no range like 10.0.0.0/8"))
    }
}

/// IPv4 that is not everybody's, by IANA's registry of special-purpose addresses: networks of their
/// own, loopback, links (and with them what clouds tell their machines), shared, for documentation and
/// benchmarks, relays, multicast, reserved.
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6 within `2000::/3` that is not everybody's: protocol assignments with Teredo, documentation,
/// 6to4, which embeds IPv4, and what is set aside for segment routing.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the public network's.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(base, bits)| {
            let mask = u32::MAX << (32 - bits);
            u32::from(v4) & mask == u32::from(*base)
        }),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            let unicast = bits >> 125 == 1;
            let special = SPECIAL_V6.iter().any(|(base, len)| {
                let mask = u128::MAX << (128 - len);
                bits & mask == u128::from(*base)
            });
            unicast && !special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_everybodys_are_told_from_those_that_are() {
        for public in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "4000::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn ranges_are_addresses_or_prefixes_and_nothing_else() {
        let contains = |range: &str, address: &str| {
            range.parse::<AddressRange>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.1/8", "127.9.9.9"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(contains("::1", "::1") && !contains("::/0", "10.0.0.1"));
        for wrong in ["", "127.1", "10.0.0.0/33", "localhost", "10.0.0.0/8 "] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }
}
