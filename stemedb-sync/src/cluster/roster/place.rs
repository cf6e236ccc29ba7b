//! What of an address says which process, and which machine, it is: one has many spellings.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port of an address that names none: that of `PeerAddress`.
const DEFAULT_PORT: u16 = 7845;

/// Place at which one process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    name: Name,
    port: Option<u16>,
}

/// A machine, as far as an address tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// This machine itself.
    Loopback,
    V4(Ipv4Addr),
    /// A network of 64 bits: who has one address in it has all of them.
    V6(u128),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Ip(IpAddr),
    Text(String),
}

impl Place {
    /// Total: any text may come.
    pub(super) fn of(address: &str) -> Self {
        let rest = match address.split_once("://") {
            Some((_, rest)) => rest.strip_suffix('/').unwrap_or(rest),
            None => address,
        };
        let (host, port) = match rest.rsplit_once(':') {
            // Else the colon is within an address in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (rest, Some(DEFAULT_PORT)),
        };
        Self { name: Name::of(host), port }
    }

    /// On which machine it is.
    pub(super) fn host(&self) -> Host {
        match &self.name {
            Name::Ip(ip) if ip.is_loopback() || ip.is_unspecified() => Host::Loopback,
            Name::Ip(IpAddr::V4(ip)) => Host::V4(*ip),
            Name::Ip(IpAddr::V6(ip)) => Host::V6(ip.to_bits() >> 64),
            // RFC 6761, section 6.3.
            Name::Text(name) if name == "localhost" || name.ends_with(".localhost") => {
                Host::Loopback
            }
            Name::Text(name) => Host::Name(name.clone()),
        }
    }
}

impl Name {
    fn of(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // A zone says by which way, not which machine.
        let bare = bare.split('%').next().unwrap_or(bare);
        if let Ok(ip) = bare.parse::<Ipv6Addr>() {
            return Self::Ip(IpAddr::V6(ip).to_canonical());
        }
        let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        match v4(&name) {
            Some(ip) => Self::Ip(IpAddr::V4(ip)),
            None => Self::Text(name),
        }
    }
}

/// An IPv4 address in all forms that the C library resolves: one to four numbers, decimal,
/// hexadecimal or octal, of which the last one fills what is left.
fn v4(text: &str) -> Option<Ipv4Addr> {
    let numbers = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, front) = numbers.split_last()?;
    if front.len() > 3 {
        return None;
    }
    let mut bits = 0_u32;
    for number in front {
        bits = bits << 8 | u32::from(u8::try_from(*number).ok()?);
    }
    let left = 32 - 8 * u32::try_from(front.len()).ok()?;
    let fits = u64::from(*last) < 1 << left;
    let bits = u64::from(bits) << left | u64::from(*last);
    fits.then(|| u32::try_from(bits).ok()).flatten().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let all = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    all.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_place_are_one() {
        let same = [
            &[
                "a.example:7845",
                "A.Example.:7845",
                "a.EXAMPLE",
                "http://a.example/",
                "a.example:07845",
            ][..],
            &[
                "10.0.0.1:80",
                "10.1:80",
                "0xa.0.0.1:80",
                "012.1:80",
                "167772161:80",
                "[::ffff:a00:1]:80",
            ],
            &["[2001:db8::1]:80", "[2001:DB8:0::1]:80", "https://[2001:db8::0.0.0.1]:80"],
        ];
        for spellings in same {
            for spelling in spellings {
                assert_eq!(Place::of(spelling), Place::of(spellings[0]), "{spelling}");
            }
        }
        for (one, other) in [("a:1", "a:2"), ("a:1", "b:1"), ("10.0.0.1:1", "10.0.0.2:1")] {
            assert_ne!(Place::of(one), Place::of(other));
        }
        // Whatever comes is some place.
        for text in
            ["", ":", "[", "]:1", "://", "a:b:c", "1.2.3.4.5:1", "256.1.1.1:1", "0x:1", "%:1"]
        {
            let _ = Place::of(text).host();
        }
        assert_ne!(Place::of("256.1.1.1:1").host(), Place::of("1.1.1.1:1").host());
    }

    #[test]
    fn names_of_a_machine_are_one() {
        let host = |address: &str| Place::of(address).host();
        for spelling in
            ["LocalHost:1", "localhost.:2", "a.localhost:3", "127.0.0.1:4", "127.1:5", "[::1]:6"]
        {
            assert_eq!(host(spelling), Host::Loopback, "{spelling}");
        }
        assert_eq!(host("[2001:db8::1]:1"), host("[2001:db8::ffff:1]:2"));
        assert_ne!(host("[2001:db8::1]:1"), host("[2001:db8:0:1::1]:1"));
        assert_ne!(host("10.0.0.1:1"), host("10.0.0.2:1"));
        assert_ne!(host("a.example:1"), host("b.example:1"));
    }
}
