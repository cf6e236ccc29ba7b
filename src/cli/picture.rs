//! How full the 256 top subtrees of the set tree are, as 16 rows of 16 blocks.

/// From empty to as full as the fullest.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the counts of ids by their first byte: the row is its first hex digit, the column its
/// second. A subtree with any id at all shows at least the lowest block.
pub(super) fn draw(counts: &[u64; 256]) -> String {
    let fullest = counts.iter().copied().max().unwrap_or(0);
    let head = "    0 1 2 3 4 5 6 7 8 9 a b c d e f\n".to_owned();
    let rows = counts.chunks(16).enumerate().map(|(row, counts)| {
        let blocks = counts.iter().map(|count| level(*count, fullest));
        // Two characters are about as wide as one is high.
        let blocks: String = blocks.flat_map(|block| [block, block]).collect();
        format!("  {row:x} {blocks} {row:x}\n")
    });
    std::iter::once(head).chain(rows).collect()
}

fn level(count: u64, fullest: u64) -> char {
    let top = LEVELS.len() as u128 - 1;
    let level = (u128::from(count) * top).div_ceil(u128::from(fullest.max(1)));
    usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_scaled_to_the_fullest() {
        let mut counts = [0; 256];
        counts[0x00] = 8;
        counts[0x01] = 4;
        counts[0xff] = 1;
        let picture = draw(&counts);
        let rows: Vec<&str> = picture.lines().collect();
        assert_eq!(rows.len(), 17);
        assert!(rows[1].starts_with("  0 ██▄▄  "), "{picture}");
        assert!(rows[16].ends_with("  ▁▁ f"), "{picture}");
        assert!(!draw(&[0; 256]).contains('█'));
        assert!(draw(&[u64::MAX; 256]).contains('█'));
    }
}
