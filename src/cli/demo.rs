//! x
use super::{Globals, failure::Failure};
/// Demo
#[derive(Debug, clap::Args)]
pub(super) struct Args {}
pub(super) fn run(_: &Args, _: &Globals) -> Result<(), Failure> { Ok(()) }
