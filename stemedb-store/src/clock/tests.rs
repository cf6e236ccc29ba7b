use super::*;
use std::cell::Cell;

use stemedb_merkle::Timestamp;

const NODE: [u8; 16] = [7; 16];
const YEAR: u64 = (365 * 24 * 60 * 60) << 32;
const NOW: u64 = 0x6900_0000_1234_5670;
const READING_LIMIT: u64 = super::READING_LIMIT.as_ntp64();

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(0) };
}

fn physical() -> NTP64 {
    NTP64(TIME.get())
}

fn clock_at(time: u64, last: Option<u64>) -> (LogClock, ClockReport) {
    TIME.set(time);
    LogClock::new(physical, NODE, last.map(Timestamp::from_ntp64))
}

fn reserve(clock: &mut LogClock, count: u64) -> Result<u64, TimesExhausted> {
    clock.reserve(count).map(Timestamp::as_ntp64)
}

#[test]
fn a_new_log_takes_the_clocks_time() {
    let (mut clock, report) = clock_at(NOW, None);
    assert_eq!(report, ClockReport::InStep);
    assert_eq!((clock.last().map(Timestamp::as_ntp64), reserve(&mut clock, 1)), (None, Ok(NOW)));
    assert_eq!(clock.last().map(Timestamp::as_ntp64), Some(NOW));
    TIME.set(NOW + 0x105);
    assert_eq!(
        reserve(&mut clock, 3),
        Ok(NOW + 0x100),
        "the hybrid clock drops the lowest four bits"
    );
    assert_eq!(clock.last().map(Timestamp::as_ntp64), Some(NOW + 0x102));
}

#[test]
fn a_clock_that_stands_still_or_goes_back_counts_on() {
    let (mut clock, _) = clock_at(NOW, None);
    let mut next = reserve(&mut clock, 1).unwrap() + 1;
    for (step, time) in [NOW, NOW - 1, NOW - YEAR, 0, 0, NOW, NOW + 5].into_iter().enumerate() {
        TIME.set(time);
        for count in [1, 1, 2, 3, 0, 1000, 1] {
            assert_eq!(reserve(&mut clock, count), Ok(next), "step {step}");
            next += count;
        }
    }
    TIME.set(NOW + YEAR);
    assert_eq!(reserve(&mut clock, 1), Ok(NOW + YEAR));
    TIME.set(NOW);
    assert_eq!(reserve(&mut clock, 1), Ok(NOW + YEAR + 1));
}

/// Times are `max(clock, last + 1)` whatever the clock does, over restarts too.
#[test]
fn times_are_those_of_the_definition() {
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    };
    let (mut clock, _) = clock_at(NOW, None);
    let mut last: Option<u64> = None;
    for round in 0..20_000 {
        let time = match random() % 4 {
            0 => NOW + random() % 64,
            1 => last.unwrap_or(0) + random() % 40,
            2 => last.unwrap_or(0).saturating_sub(random() % 40),
            _ => random() << 18,
        };
        TIME.set(time);
        let count = 1 + random() % 5;
        let expected = (time & !15).max(last.map_or(0, |last| last + 1));
        assert_eq!(reserve(&mut clock, count), Ok(expected), "round {round} at {time}");
        last = Some(expected + count - 1);
        if random() % 16 == 0 {
            clock = LogClock::new(physical, NODE, last.map(Timestamp::from_ntp64)).0;
        }
    }
}

#[test]
fn a_log_goes_on_far_ahead_of_its_clock() {
    for last in
        [1, 2, NOW, u64::MAX - 70, u64::MAX - 65, u64::MAX - 64, u64::MAX - 63, u64::MAX - 9]
    {
        let (mut clock, _) = clock_at(0, Some(last));
        assert_eq!(reserve(&mut clock, 4), Ok(last + 1));
        assert_eq!(reserve(&mut clock, 1), Ok(last + 5));
    }
}

#[test]
fn times_run_out_with_an_error() {
    let exhausted = |last, count| TimesExhausted { last: Timestamp::from_ntp64(last), count };
    let last = u64::MAX - 5;
    let (mut clock, _) = clock_at(NOW, Some(last));
    assert_eq!(reserve(&mut clock, 6), Err(exhausted(last, 6)));
    assert_eq!(reserve(&mut clock, u64::MAX), Err(exhausted(last, u64::MAX)));
    assert_eq!(reserve(&mut clock, 5), Ok(last + 1));
    let none_left = exhausted(u64::MAX, 1);
    assert_eq!(reserve(&mut clock, 1), Err(none_left));
    assert!(none_left.to_string().contains("2106-02-07"), "{none_left}");
    let (mut clock, _) = clock_at(NOW, Some(u64::MAX));
    assert!(reserve(&mut clock, 1).is_err());
}

/// A clock that was wrong once does not use up the times of the log.
#[test]
fn readings_near_the_end_of_time_are_not_taken() {
    for last in [None, Some(0), Some(NOW)] {
        for reading in [READING_LIMIT, READING_LIMIT + 1, u64::MAX - 15, u64::MAX] {
            let (mut clock, report) = clock_at(reading, last);
            let next = last.map_or(0, |last| last + 1);
            assert_eq!(report, ClockReport::NotTaken, "{reading} after {last:?}");
            assert_eq!(reserve(&mut clock, 0), Ok(next), "{reading} after {last:?}");
            assert_eq!(reserve(&mut clock, 2), Ok(next), "{reading} after {last:?}");
            assert_eq!(reserve(&mut clock, 1), Ok(next + 2), "{reading} after {last:?}");
            TIME.set(NOW + YEAR);
            assert_eq!(reserve(&mut clock, 1), Ok(NOW + YEAR), "the clock is right again");
            TIME.set(reading);
            assert_eq!(reserve(&mut clock, 1), Ok(NOW + YEAR + 1), "and wrong again");
            TIME.set(NOW + 2 * YEAR);
            assert_eq!(reserve(&mut clock, 1), Ok(NOW + 2 * YEAR), "and right again");
        }
    }
    let (mut clock, _) = clock_at(NOW, Some(NOW));
    TIME.set(READING_LIMIT - 16);
    assert_eq!(reserve(&mut clock, 1), Ok(READING_LIMIT - 16), "the last reading that is taken");
}

/// The clock is set to the end of time between two looks at it.
#[test]
fn a_reading_that_the_hybrid_clock_took_is_given_up() {
    thread_local! {
        static READINGS: Cell<u32> = const { Cell::new(0) };
    }
    fn flickering() -> NTP64 {
        let n = READINGS.get();
        READINGS.set(n + 1);
        NTP64(if n.is_multiple_of(2) { NOW } else { u64::MAX })
    }
    let (mut clock, _) = LogClock::new(flickering, NODE, Some(Timestamp::from_ntp64(NOW)));
    let mut last = NOW;
    for _ in 0..100 {
        let time = reserve(&mut clock, 1).unwrap();
        assert!(time > last && time < NOW + 10_000, "{time}");
        last = time;
    }
}

/// A log that has such a time already, from before they were refused.
#[test]
fn times_count_on_while_there_are_any() {
    for last in [READING_LIMIT - 1, READING_LIMIT, u64::MAX - 200] {
        for reading in [0, NOW, READING_LIMIT + 5, u64::MAX] {
            let (mut clock, report) = clock_at(reading, Some(last));
            if last >= READING_LIMIT {
                assert_eq!(report, ClockReport::NearEnd(u64::MAX - last));
                assert!(report.to_string().contains(&format!("{} are left", u64::MAX - last)));
            }
            for n in 1..=100 {
                assert_eq!(reserve(&mut clock, 1), Ok(last + n), "at {reading}");
            }
        }
    }
}

#[test]
fn a_clock_at_zero_works() {
    let (mut clock, _) = clock_at(0, None);
    let first = reserve(&mut clock, 2).unwrap();
    assert!(first <= 1);
    assert_eq!(reserve(&mut clock, 1), Ok(first + 2));
    let (mut clock, _) = clock_at(0, Some(0));
    assert_eq!(reserve(&mut clock, 1), Ok(1));
    let (mut clock, _) = LogClock::new(physical, [0; 16], Some(Timestamp::from_ntp64(3)));
    assert_eq!(reserve(&mut clock, 1), Ok(4));
}

#[test]
fn what_is_far_off_is_reported() {
    let secs = |secs: u64| secs << 32;
    let cases = [
        (NOW, ClockReport::InStep),
        (NOW - secs(9), ClockReport::InStep),
        (NOW - secs(BEHIND_REPORTED_SECS), ClockReport::Behind(10)),
        (0, ClockReport::Behind(NOW >> 32)),
        (NOW + secs(AHEAD_REPORTED_SECS) - 1, ClockReport::InStep),
        (NOW + YEAR, ClockReport::Ahead(31_536_000)),
        (READING_LIMIT - 1, ClockReport::Ahead((READING_LIMIT - 1 - NOW) >> 32)),
        (u64::MAX, ClockReport::NotTaken),
    ];
    for (time, expected) in cases {
        assert_eq!(clock_at(time, Some(NOW)).1, expected, "{time}");
    }
    assert_eq!(clock_at(0, None).1, ClockReport::InStep);
    assert!(ClockReport::Behind(12).to_string().contains("12 s behind"));
}
