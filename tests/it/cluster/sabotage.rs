//! What is wrong on purpose, for the negative controls.

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Disks sync only the beginnings of files, and say that they synced all.
    Unsynced,
    /// No session with a certain node ever begins, and it begins none.
    Shunned,
    /// Bodies are changed between the check of a session and the store.
    Altered,
    /// Answers about ids and subtrees are not what the responder said.
    Lies,
    /// What happens follows from more than the seed.
    Unseeded,
    /// Sessions are never told that time passes, and what is lost stays lost.
    Forgotten,
    /// Everybody repeats to everybody what he hears.
    Talkative,
    /// All links to a machine share one narrow line, which a flood fills.
    Narrow,
}
