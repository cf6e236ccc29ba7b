//! Differences of two configurations, and which of them a running node applies.

use serde_json::Value;

use super::{Config, ConfigError, key::KEYS};

/// A key that has another value than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key's name.
    pub key: &'static str,
    /// The old value.
    pub from: Value,
    /// The new value.
    pub to: Value,
}

/// Differences of two configurations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Keys that a running node applies.
    pub reloaded: Vec<Change>,
    /// Keys that it applies when it is started again.
    pub restart: Vec<Change>,
}

impl Config {
    /// Differences from this configuration to `newer`.
    pub fn changed(&self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        for (old, newer) in self.effective().zip(newer.effective()) {
            if old.value != newer.value {
                let (from, to) = (old.value.clone(), newer.value.clone());
                let change = Change { key: old.key.name, from, to };
                let list =
                    if old.key.reload { &mut changes.reloaded } else { &mut changes.restart };
                list.push(change);
            }
        }
        changes
    }

    /// This one with whatever a running node takes on of `newer`: what is in force after a reload.
    ///
    /// # Errors
    ///
    /// None, but for a fault of this program.
    pub fn reloaded(&self, newer: &Self) -> Result<Self, ConfigError> {
        let both = KEYS.iter().zip(self.values.iter().zip(&newer.values));
        let values = both.map(|(key, (old, newer))| if key.reload { newer } else { old }.clone());
        Self::of(values.collect()).map_err(Into::into)
    }
}
