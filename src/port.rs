//! STUB
#![allow(missing_docs)]
use crate::{exit::Result, profile::Profile, home::Home, cli::Deadline, message::Log};
pub struct Range; impl Range { pub fn from_option(_: Option<&std::ffi::OsStr>) -> Result<Range> { Ok(Range) } }
#[derive(Clone)]
pub enum Assignment { Port { port: u16, pinned: bool }, Full, Conflict { port: u16, other: Profile } }
pub struct Book;
impl Book { pub fn open(_: &Home, _: Range, _: Deadline, _: &dyn Log) -> Result<Book> { Ok(Book) }
 pub fn assign(&mut self, _: &Profile) -> Result<Assignment> { Ok(Assignment::Port{port: 9530, pinned: false}) }
 pub fn free(&mut self, _: &Profile) {}
 pub fn save(&mut self, _: &dyn Log) -> Result<()> { Ok(()) } }

pub fn allocate(h: &Home, p: &Profile, dry: bool, d: Deadline, log: &dyn Log) -> Result<Option<u16>> {
    let mut b = Book::open(h, Range::from_option(None)?, d, log)?;
    let a = b.assign(p)?; if !dry { b.save(log)?; }
    Ok(match a { Assignment::Port { port, .. } => Some(port), _ => None })
}
pub fn free(h: &Home, p: &Profile, dry: bool, d: Deadline, log: &dyn Log) -> Result<()> { let mut b = Book::open(h, Range::from_option(None)?, d, log)?; b.free(p); if !dry { b.save(log)?; } Ok(()) }
