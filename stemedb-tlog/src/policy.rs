//! Policies: the logs that are trusted, and the witnesses that must have cosigned (C2SP
//! tlog-policy).
//!
//! ```text
//! log <vkey> [url]
//! witness <name> <vkey> [url]
//! group <name> all|any|<k> <member>...
//! quorum <name>|none
//! ```

mod verify;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    format::Format,
    key_type::KeyType,
    limits::POLICY_LEN_MAX,
    lines::{Lines, number},
    malformed::{Malformed, Place},
    vkey::VerifierKey,
};

/// A log that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, whose name is its origin.
    pub key: VerifierKey,
    /// Where it is read, if the policy says so.
    pub url: Option<Vec<u8>>,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name in the policy.
    pub name: Vec<u8>,
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes submissions, if the policy says so.
    pub url: Option<Vec<u8>>,
}

/// A group of witnesses and groups, some of which must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A witness or a group, by its place in the order of definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// What the line `quorum` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quorum {
    None,
    Member(Member),
}

/// A policy: the logs that are trusted, and the witnesses that must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    /// Each after its members.
    groups: Vec<Group>,
    quorum: Quorum,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_file(file, POLICY_LEN_MAX, Format::Policy)?;
        if lines.is_empty() {
            return Err(lines.malformed("the policy is empty"));
        }
        let mut parser = Parser::default();
        while let Some(line) = lines.next()? {
            let malformed = |rule| Malformed { format: Format::Policy, place: line.place, rule };
            if !line.bytes.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)) {
                return Err(malformed("the line has a control character"));
            }
            let items = line.bytes.split(|byte| matches!(byte, b' ' | b'\t'));
            let items: Vec<&[u8]> = items.filter(|item| !item.is_empty()).collect();
            parser.read(&items, line.place)?;
        }
        let missing = lines.malformed("the policy has no line `quorum`");
        let quorum = parser.quorum.ok_or(missing)?;
        let Parser { logs, witnesses, groups, .. } = parser;
        Ok(Self { logs, witnesses, groups, quorum })
    }

    /// The logs.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, also those that are in no group.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Number of groups.
    pub const fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether the quorum is met, if those witnesses have cosigned of which `cosigned` says so.
    pub fn is_met(&self, cosigned: impl Fn(&PolicyWitness) -> bool) -> bool {
        let witnesses: Vec<bool> = self.witnesses.iter().map(cosigned).collect();
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let met = |member: &Member, groups: &[bool]| match *member {
            Member::Witness(at) => witnesses.get(at) == Some(&true),
            Member::Group(at) => groups.get(at) == Some(&true),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| met(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        match self.quorum {
            Quorum::None => true,
            Quorum::Member(quorum) => met(&quorum, &groups),
        }
    }
}

/// What was defined so far.
#[derive(Default)]
struct Parser<'a> {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Quorum>,
    names: BTreeMap<&'a [u8], Member>,
    in_groups: BTreeSet<Member>,
    log_keys: BTreeSet<Vec<u8>>,
    witness_keys: BTreeSet<Vec<u8>>,
}

impl<'a> Parser<'a> {
    fn read(&mut self, items: &[&'a [u8]], place: Place) -> Result<(), Malformed> {
        let read = match items {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey] => return self.log(vkey, None, place),
            [b"log", vkey, url] => return self.log(vkey, Some(url.to_vec()), place),
            [b"witness", name, vkey] => return self.witness(name, vkey, None, place),
            [b"witness", name, vkey, url] => {
                return self.witness(name, vkey, Some(url.to_vec()), place);
            }
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err("expected `log`, `witness`, `group` or `quorum`, and what belongs to it"),
        };
        read.map_err(|rule| Malformed { format: Format::Policy, place, rule })
    }

    fn log(&mut self, vkey: &[u8], url: Option<Vec<u8>>, place: Place) -> Result<(), Malformed> {
        let key = VerifierKey::parse_at(vkey, &KeyType::LOG, place)?;
        if !self.log_keys.insert(key.public_key().to_vec()) {
            let rule = "a second log with the same key";
            return Err(Malformed { format: Format::Policy, place, rule });
        }
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(
        &mut self,
        name: &'a [u8],
        vkey: &[u8],
        url: Option<Vec<u8>>,
        place: Place,
    ) -> Result<(), Malformed> {
        let malformed = |rule| Malformed { format: Format::Policy, place, rule };
        let key = VerifierKey::parse_at(vkey, &KeyType::WITNESS, place)?;
        if !self.witness_keys.insert(key.public_key().to_vec()) {
            return Err(malformed("a second witness with the same key"));
        }
        self.define(name, Member::Witness(self.witnesses.len())).map_err(malformed)?;
        self.witnesses.push(PolicyWitness { name: name.to_vec(), key, url });
        Ok(())
    }

    fn group(
        &mut self,
        name: &'a [u8],
        threshold: &[u8],
        names: &[&'a [u8]],
    ) -> Result<(), &'static str> {
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let member = self.names.get(member).ok_or("a member is not defined above")?;
            if !self.in_groups.insert(*member) {
                return Err("a member is one already, of this group or another");
            }
            members.push(*member);
        }
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            digits => number(digits)
                .and_then(|threshold| usize::try_from(threshold).ok())
                .ok_or("the threshold is not `all`, `any` or a decimal number")?,
        };
        if !(1..=members.len()).contains(&threshold) {
            return Err("the threshold is not from 1 to the number of members");
        }
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), &'static str> {
        if self.quorum.is_some() {
            return Err("a second line `quorum`");
        }
        self.quorum = Some(match name {
            b"none" => Quorum::None,
            name => Quorum::Member(*self.names.get(name).ok_or("the quorum is not defined above")?),
        });
        Ok(())
    }

    fn define(&mut self, name: &'a [u8], member: Member) -> Result<(), &'static str> {
        if name == b"none" {
            return Err("the name `none` is reserved");
        }
        match self.names.insert(name, member) {
            None => Ok(()),
            Some(_) => Err("the name is defined already"),
        }
    }
}
