//! What differs between two configurations, and what of it a running node takes on.

use serde_json::Value;

use super::{
    Config,
    key::{KEYS, Key},
    raw::Raw,
};

/// A key that has another value than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key's name.
    pub key: &'static str,
    /// What it was.
    pub from: Value,
    /// What it is now.
    pub to: Value,
}

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// What a running node takes on.
    pub reloaded: Vec<Change>,
    /// What it takes on when it is started again.
    pub restart: Vec<Change>,
}

impl Config {
    /// What is different in `newer`.
    pub fn changed(&self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in &KEYS {
            let (from, to) = ((key.show)(&self.settings), (key.show)(&newer.settings));
            if from != to {
                let change = Change { key: key.name, from, to };
                if key.reload {
                    changes.reloaded.push(change);
                } else {
                    changes.restart.push(change);
                }
            }
        }
        changes
    }

    /// This one with whatever a running node takes on of `newer`: what is in force after a reload.
    #[must_use]
    pub fn reloaded(&self, newer: &Self) -> Self {
        let mut reloaded = self.clone();
        let origins = reloaded.origins.iter_mut().zip(&newer.origins);
        for (key, (origin, newer_origin)) in KEYS.iter().zip(origins) {
            // A value is taken as it is shown.
            let raw = Raw::of_shown((key.show)(&newer.settings));
            if key.reload && (key.set)(&mut reloaded.settings, &raw).is_ok() {
                origin.clone_from(newer_origin);
            }
        }
        reloaded
    }
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}
