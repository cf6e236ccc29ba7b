//! Bearer tokens: a password for a program.

use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};
use tonic::metadata::{Ascii, MetadataValue};

/// The least length of a token, in characters.
pub const TOKEN_LEN_MIN: usize = 16;
/// The greatest length of a token, in characters: a header must hold it.
pub const TOKEN_LEN_MAX: usize = 1024;
/// Tokens that a server takes at most.
pub const TOKENS_MAX: usize = 64;

/// Token that a client shows. Never printed.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

/// Tokens that a server takes: any of them, so that one can replace another without a break.
///
/// Only their hashes are kept.
#[derive(Clone, Default)]
pub struct Tokens(Vec<blake3::Hash>);

/// Error of parsing a token, or a file of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none.
    #[error("there is no token: a file has one on each line")]
    None,
    /// Too many.
    #[error("there are {count} tokens, and {TOKENS_MAX} are the most that a server takes")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Too short or too long.
    #[error(
        "the token on line {line} has {len} characters; it takes {TOKEN_LEN_MIN} to \
         {TOKEN_LEN_MAX}, and random ones: `openssl rand -hex 32` makes one"
    )]
    Length {
        /// The line, from 1.
        line: usize,
        /// How many characters it has.
        len: usize,
    },
    /// A character that a header can't carry.
    #[error(
        "the token on line {line} has a character that is not visible ASCII; \
         `openssl rand -hex 32` makes a good one"
    )]
    Character {
        /// The line, from 1.
        line: usize,
    },
}

/// The tokens in a file: one on each line, spaces around it and empty lines left out.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..)
        .zip(text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii))
        .filter(|(_, token)| !token.is_empty())
}

fn check(line: usize, token: &[u8]) -> Result<(), TokenError> {
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&token.len()) {
        return Err(TokenError::Length { line, len: token.len() });
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(TokenError::Character { line });
    }
    Ok(())
}

impl Token {
    /// The first token in the text of a token file.
    ///
    /// # Errors
    ///
    /// If there is none, or it can't be one.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let (line, token) = lines(text).next().ok_or(TokenError::None)?;
        check(line, token)?;
        let header = [b"Bearer ", token].concat();
        let mut value = MetadataValue::try_from(header.as_slice())
            .map_err(|_| TokenError::Character { line })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the `authorization` header.
    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl Tokens {
    /// The tokens in the text of a token file.
    ///
    /// # Errors
    ///
    /// If there are none or too many, or one can't be a token.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let count = lines(text).count();
        if count == 0 {
            return Err(TokenError::None);
        }
        if count > TOKENS_MAX {
            return Err(TokenError::TooMany { count });
        }
        let hash = |(line, token)| check(line, token).map(|()| blake3::hash(token));
        Ok(Self(lines(text).map(hash).collect::<Result<_, _>>()?))
    }

    /// Whether an `authorization` header has one of them.
    ///
    /// Hashes are compared, all of them and all their bytes, so that the time taken tells neither
    /// how much of a guess is right nor how long the right one is.
    pub(crate) fn admit(&self, header: Option<&[u8]>) -> bool {
        let Some((scheme, token)) = header.and_then(|header| header.split_at_checked(7)) else {
            return false;
        };
        let given = blake3::hash(token);
        let known = self
            .0
            .iter()
            .fold(Choice::from(0), |found, hash| found | hash.as_bytes().ct_eq(given.as_bytes()));
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(known)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const TWO: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn any_of_the_tokens_is_admitted_and_nothing_else() {
        let tokens = Tokens::parse(format!("{ONE}\r\n\n  {TWO}").as_bytes()).unwrap();
        let admit = |header: &str| tokens.admit(Some(header.as_bytes()));
        assert!(admit(&format!("Bearer {ONE}")));
        assert!(admit(&format!("bearer {TWO}")));
        for wrong in ["", "Bearer", "Bearer ", ONE, &format!("Basic {ONE}")] {
            assert!(!admit(wrong), "{wrong}");
        }
        assert!(!admit(&format!("Bearer {}", &ONE[1..])));
        assert!(!admit(&format!("Bearer {ONE}0")));
        assert!(!admit(&format!("Bearer {ONE}{TWO}")));
        assert!(!tokens.admit(None));
        assert!(!Tokens::default().admit(Some(b"Bearer ")));
        let header = Token::parse(ONE.as_bytes()).unwrap().header();
        assert!(tokens.admit(Some(header.as_bytes())));
    }

    #[test]
    fn what_is_no_token_is_said_so() {
        let many = format!("{ONE}\n").repeat(TOKENS_MAX + 1);
        for (text, error) in [
            ("", TokenError::None),
            (" \n\n", TokenError::None),
            ("\nshort", TokenError::Length { line: 2, len: 5 }),
            ("0123456789abcdéf0123456789", TokenError::Character { line: 1 }),
            ("0123456789 bcdef0123456789", TokenError::Character { line: 1 }),
        ] {
            assert_eq!(Tokens::parse(text.as_bytes()).unwrap_err(), error, "{text:?}");
            assert_eq!(Token::parse(text.as_bytes()).unwrap_err(), error, "{text:?}");
        }
        let error = Tokens::parse(many.as_bytes()).unwrap_err();
        assert_eq!(error, TokenError::TooMany { count: TOKENS_MAX + 1 });
    }

    #[test]
    fn tokens_are_not_printed() {
        let printed = format!(
            "{:?} {:?}",
            Token::parse(ONE.as_bytes()).unwrap(),
            Tokens::parse(ONE.as_bytes()).unwrap()
        );
        assert_eq!(printed, "Token(..) Tokens(1)");
    }
}
