//! Bytes as decisions: what a target with many steps does next.

/// Bytes that are taken off the front. Behind their end there are zeros, without end.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Small numbers mostly, and those at which arithmetic fails.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..200 => small.into(),
            200..220 => u64::from(u16::from_le_bytes(self.array())),
            220..230 => u64::MAX - u64::from(self.byte()),
            230..240 => (1 << (self.byte() % 64)) - 1,
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// The same, cut to 32 bits.
    pub(crate) fn number32(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    /// At most 255 bytes.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// Changes a list in one place, or puts another one there.
    pub(crate) fn change(&mut self, list: &mut Vec<u8>) {
        let at = usize::from(u16::from_le_bytes(self.array())).min(list.len());
        match self.below(6) {
            0 => {
                if let Some(byte) = list.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => list.truncate(at),
            2 => list.clear(),
            3 => *list = self.bytes().to_vec(),
            4 => {
                list.splice(at..at, self.bytes().iter().copied());
            }
            _ => {
                let again = list[at..].to_vec();
                list.extend(again);
            }
        }
    }
}
