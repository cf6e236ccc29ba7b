use super::*;

/// The definition, word for word: the smallest odd `next` with `next > weight * 2^32 / draw`.
fn step_by_definition(weight: u32, draw: u64, end: u32) -> Option<u32> {
    let above = |next: u32| u64::from(next) * draw > u64::from(weight) << 32;
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = u32::midpoint(low, high);
        if above(weight_of(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    (low < end).then_some(weight_of(low))
}

fn assert_step(weight: u32, draw: u64, end: u32) {
    let found = step(weight, draw, end);
    assert_eq!(found, step_by_definition(weight, draw, end), "{weight} {draw} {end}");
    assert!(found.is_none_or(|next| next > weight && next % 2 == 1 && index_of(next) < end));
}

#[test]
fn steps_are_those_of_the_definition() {
    const DRAW_MAX: u64 = (1 << 32) - 1;
    let mut state = 7_u64;
    for _ in 0..100_000 {
        state = mix(state.wrapping_add(INCREMENT));
        let index = u32::try_from(state >> 34).unwrap() >> (state % 30);
        let draw = larger_half(mix(state)) >> (state % 31);
        for end in [INDEX_END, index + 1, 1 << 14] {
            if index < end {
                assert_step(weight_of(index), draw, end);
            }
        }
    }
    for weight in [3, 5, 7, 99, 32_767, 32_769, 1 << 20 | 1, weight_of(INDEX_END - 1)] {
        for draw in [0, 1, 2, 3, 1 << 30, 1 << 31, DRAW_MAX - 1, DRAW_MAX] {
            assert_step(weight, draw, INDEX_END);
        }
    }
    // Draws for which the quotient is an odd number, or nearly.
    for weight in (3..2_000_u32).step_by(2) {
        for next in [weight + 2, weight + 10, 3 * weight, 5 * weight, 1_001 * weight] {
            let edge = (u64::from(weight) << 32) / u64::from(next);
            for draw in edge.saturating_sub(1)..=edge + 1 {
                assert_step(weight, draw, INDEX_END);
            }
        }
    }
}

#[test]
fn stages_join() {
    let ends: Vec<u32> = (0..8).map(stage_end).collect();
    assert_eq!(ends, [14, 17, 20, 23, 26, 29, 30, 30].map(|bits| 1 << bits));
    let mut hash = 1;
    for _ in 0..2_000 {
        hash = mix(hash);
        let all: Vec<u32> = Indices::new(hash).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!(all.first(), Some(&0));
        for from in [0, 1, 5, 16_383, 16_384, 16_385, 131_072, 200_000, 1 << 29, INDEX_END - 1] {
            let rest: Vec<u32> = all.iter().copied().filter(|index| *index >= from).collect();
            assert_eq!(Indices::starting_at(hash, from).collect::<Vec<_>>(), rest, "{from}");
        }
        for end in [1, 2, 5_000, 16_384, 16_385, 150_000] {
            let some: Vec<u32> = all.iter().copied().take_while(|index| *index < end).collect();
            let mut walk = Walk::new(hash);
            let walked = core::iter::once(0).chain(core::iter::from_fn(|| walk.advance(end)));
            assert_eq!(walked.collect::<Vec<_>>(), some, "{end}");
        }
        let past_the_end = Indices::starting_at(hash, u32::MAX).next();
        assert_eq!(past_the_end, None);
    }
}

/// Each index is taken as often as the density says, in every stage alike.
#[test]
fn indices_have_the_density_of_the_paper() {
    const IDS: u32 = 200_000;
    const END: u32 = 140_000;
    let mut hits = vec![0_u32; END as usize];
    let mut state = 99_u64;
    for _ in 0..IDS {
        state = state.wrapping_add(INCREMENT);
        for index in Indices::new(mix(state)).take_while(|index| *index < END) {
            hits[index as usize] += 1;
        }
    }
    let chance = |k: f64| 1.0 - ((2.0 * k + 1.0) / (2.0 * k + 3.0)).powi(2);
    assert_eq!(hits[0], IDS);
    for range in [
        1_u32..2,
        2..3,
        9..10,
        90..100,
        900..1_000,
        16_000..16_384,
        16_384..16_800,
        100_000..131_072,
        131_072..140_000,
    ] {
        let expected = range.clone().map(|k| chance(f64::from(k))).sum::<f64>() * f64::from(IDS);
        let found: u32 = range.clone().map(|k| hits[k as usize]).sum();
        let off = (f64::from(found) - expected).abs();
        assert!(off <= 5.0 * expected.sqrt(), "{range:?}: {found}, not {expected}");
    }
}

/// Two indices are taken independently of each other, also those on both sides of a stage's end.
#[test]
fn indices_are_independent() {
    const IDS: u32 = 400_000;
    let near = |at: u32| move |index: &u32| (at..at + at / 8).contains(index);
    for (first, second) in [(8, 9), (8, 100), (14_000, 16_384), (1_000, 20_000)] {
        let (mut one, mut other, mut both) = (0.0, 0.0, 0.0);
        let mut state = 3_u64;
        for _ in 0..IDS {
            state = state.wrapping_add(INCREMENT);
            let indices: Vec<u32> =
                Indices::new(mix(state)).take_while(|at| *at < 25_000).collect();
            let [in_one, in_other] = [first, second].map(|at| indices.iter().any(near(at)));
            one += f64::from(u8::from(in_one));
            other += f64::from(u8::from(in_other));
            both += f64::from(u8::from(in_one && in_other));
        }
        let expected = one * other / f64::from(IDS);
        let off: f64 = both - expected;
        assert!(off.abs() <= 5.0 * expected.sqrt(), "{first} {second}: {both}, not {expected}");
    }
}
