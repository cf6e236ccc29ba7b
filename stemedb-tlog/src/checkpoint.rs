//! The text of a checkpoint: origin, size and root of a log (C2SP tlog-checkpoint).

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use stemedb_merkle::{LogSize, Root, history::TreeHead};

use crate::{
    base64,
    format::Format,
    lines::{Lines, number},
    malformed::{Malformed, Place},
    name::KeyName,
};

/// Treatment of extension lines, which other logs may have behind the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extensions {
    /// A checkpoint that has any is malformed.
    #[default]
    Refuse,
    /// They are part of the text that is signed, and say nothing.
    Allow,
}

/// What a log says of itself: its origin, its size and the root over its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: KeyName,
    head: TreeHead,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of a log, without extension lines.
    pub const fn new(origin: KeyName, head: TreeHead) -> Self {
        Self { origin, head, extensions: Vec::new() }
    }

    /// The log's origin, which is the name of its keys.
    pub const fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// Size and root.
    pub const fn head(&self) -> &TreeHead {
        &self.head
    }

    /// The text that is signed: three lines, and extension lines if it was read with some.
    pub fn text(&self) -> String {
        let root = base64::encode(self.head.root.as_bytes());
        let mut text = alloc::format!("{}\n{}\n{root}\n", self.origin.as_str(), self.head.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    pub(crate) fn parse(
        text: &str,
        place: Place,
        extensions: Extensions,
    ) -> Result<Self, Malformed> {
        let mut lines = Lines::new(text.as_bytes(), place, Format::Checkpoint);
        let origin = lines.read("expected an origin: the name of a log", KeyName::from_bytes)?;
        let size = lines.read("expected a size: a decimal number below 2^63", number)?;
        let rule = "expected a root: 32 bytes in canonical base64";
        let root = Root(lines.read(rule, base64::decode_hash)?);
        let head = TreeHead { size: LogSize(size), root };
        let mut checkpoint = Self::new(origin, head);
        if extensions == Extensions::Refuse && !lines.is_empty() {
            return Err(lines.malformed("a checkpoint has three lines, and this one extensions"));
        }
        while !lines.is_empty() {
            let line = lines.read("an extension line is empty", |line| {
                if line.is_empty() { None } else { str::from_utf8(line).ok() }
            })?;
            checkpoint.extensions.push(line.to_owned());
        }
        Ok(checkpoint)
    }
}
