//! What checkpoints cost those who append meanwhile.

use crate::Failure;
use crate::contest::{Bar, Contest};
use crate::setting::Setting;
use crate::{contest::Role, ours};

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    {
        use std::cell::RefCell;
        use std::rc::Rc;
        let span = setting.span();
        let grown = Rc::new(RefCell::new(ours::large::Grown::copy_of(setting, false)?));
        for (name, checkpoints) in [("no checkpoints", false), ("checkpoints all the time", true)] {
            let grown = Rc::clone(&grown);
            contest.add(name, Role::Ours, move || grown.borrow_mut().appenders(span, checkpoints));
        }
    }
    let _ = setting;
    contest.goal(
        "p99 within 1.5 of the p99 without",
        "checkpoints all the time",
        "p99 µs",
        Bar::TimesAtMost(1.5, "no checkpoints", "p99 µs"),
    );
    Ok(contest)
}
