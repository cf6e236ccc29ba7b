//! Estimate of the difference of two sets from a few of their symbols.
//!
//! At index `i` each id of the difference is with the same chance `p`, by itself. So the count of a
//! subtracted symbol has the mean `a p`, where `a` is the count at index 0, by how many ids one
//! side has more, and the variance `d p (1 - p)`, where `d` is the difference. Each index thus
//! gives one estimate of `d`, and the mean of `n` of them has the relative standard error
//! `sqrt(2 / n + (m - 6) / (n d))`, where `m` is the mean of `1 / (p (1 - p))`: with 64 symbols
//! 0.18 for a hundred ids or more, and 0.36 for two; with 16,384 symbols 0.011 for 10,000 ids.

use super::symbol::Symbol;

/// Number of ids that only one of two sets has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The most likely number, and never fewer than by how many one set has more.
    pub difference: u64,
    /// Its standard error: two times in three it is off by less, 19 times in 20 by less than two.
    pub error: f64,
}

/// Takes in the counts of subtracted symbols, from index 0 on, and estimates the difference.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimator {
    /// The index of the next symbol.
    next: u32,
    /// The count at index 0.
    surplus: i32,
    /// Whether any symbol so far was not empty.
    differs: bool,
    /// The sum of the estimates of the single indices, from 1 on.
    sum: f64,
    /// The sum of `1 / (p (1 - p))`, which their errors follow from.
    spread: f64,
}

impl Estimator {
    /// Takes in the next symbol: that of the one set less that of the other.
    pub(super) fn push(&mut self, symbol: &Symbol) {
        self.differs |= !symbol.is_empty();
        if self.next == 0 {
            self.surplus = symbol.count;
        } else {
            let chance = density(self.next);
            let variance = chance * (1.0 - chance);
            let off = f64::from(symbol.count) - f64::from(self.surplus) * chance;
            self.sum += off * off / variance;
            self.spread += variance.recip();
        }
        self.next = self.next.saturating_add(1);
    }

    /// The estimate. `None` before the second symbol.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number, and the limit of the integer is as good as what exceeds it"
    )]
    pub(super) fn estimate(&self) -> Option<Estimate> {
        let samples = f64::from(self.next.checked_sub(1).filter(|samples| *samples > 0)?);
        let least = self.surplus.unsigned_abs().max(u32::from(self.differs));
        let mean = self.sum / samples;
        let difference = (mean.round() as u64).max(least.into());
        let size = mean.max(least.into());
        let excess = self.spread / samples - 6.0;
        let error = ((2.0 * size * size + excess * size) / samples).max(0.0).sqrt();
        Some(Estimate { difference, error })
    }
}

/// Estimates the difference from subtracted symbols, of which the first is at index 0. `None` for
/// fewer than two.
pub fn estimate(symbols: &[Symbol]) -> Option<Estimate> {
    let mut estimator = Estimator::default();
    for symbol in symbols {
        estimator.push(symbol);
    }
    estimator.estimate()
}

/// Number of symbols, from index 0 on, that recover a difference 99 times in 100:
/// `1.35 d + 4 sqrt(d) + 8`.
///
/// Measured: half of all differences of 10, 100, 1,000 and 10,000 ids take no more than 1.60, 1.44,
/// 1.37 and 1.36 symbols an id, and 99 in 100 no more than 3.40, 1.73, 1.45 and 1.37.
pub fn symbols_for(difference: u64) -> u64 {
    // 1.35 times, such that nothing overflows.
    let in_proportion = difference.saturating_add(difference / 20 * 7 + difference % 20 * 7 / 20);
    in_proportion.saturating_add(4 * difference.isqrt() + 8)
}

/// The chance that an id is at an index other than 0: see the [mapping](super::mapping).
fn density(index: u32) -> f64 {
    let index = f64::from(index);
    1.0 - ((2.0 * index + 1.0) / (2.0 * index + 3.0)).powi(2)
}
