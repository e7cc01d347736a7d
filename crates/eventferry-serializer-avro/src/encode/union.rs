//! Unions: which branch a value is of.

use eventferry_schema_registry::PayloadFault;

use super::{Encoder, write_long};
use crate::schema::{Type, Union};
use eventferry_schema_registry::json::{Kind, Reader, at_root, listed, within};

/// Which branch a value is of, and how it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By what it is.
    Plain(usize),
    /// By the branch's name around it: Avro's own JSON encoding.
    Named(usize),
}

impl Encoder<'_> {
    pub(super) fn union(
        &self,
        union: &Union,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        match self.choose(union, reader)? {
            Choice::Plain(branch) => {
                write_long(out, branch as i64);
                self.value(union.branches[branch].id, reader, out, depth)
            }
            Choice::Named(branch) => {
                let mut members = reader.object()?;
                let name = reader.key(&mut members)?.unwrap_or_default();
                write_long(out, branch as i64);
                self.value(union.branches[branch].id, reader, out, depth)
                    .map_err(|fault| within(fault, &name))?;
                reader.key(&mut members).map(drop)
            }
        }
    }

    /// Which branch the next value is of; it is not passed.
    pub(crate) fn choose(&self, union: &Union, reader: &mut Reader<'_>) -> Result<Choice, PayloadFault> {
        let kind = reader.kind()?;
        if kind == Kind::Object
            && !self.of_defaults
            && let Some(branch) = named(union, reader)?
        {
            return Ok(Choice::Named(branch));
        }
        match union.taking(kind) {
            [] => Err(at_root(format!("is {}, and wants one of {}", kind.name(), names(union)))),
            [only] => Ok(Choice::Plain(*only)),
            several => {
                for branch in several {
                    if self.fits(union, *branch, reader)? {
                        return Ok(Choice::Plain(*branch));
                    }
                }
                Err(at_root(format!("fits none of {}; {{\"NAME\": …}} says which is meant", names(union))))
            }
        }
    }

    /// Whether a value may be of this branch; of records and maps it is only their keys that are looked at, so that
    /// values deep in each other are not tried again and again.
    fn fits(&self, union: &Union, branch: usize, reader: &Reader<'_>) -> Result<bool, PayloadFault> {
        let id = union.branches[branch].id;
        match self.types.get(id) {
            Type::Record(record) => self.has_fields_of(record, reader),
            Type::Map(_) | Type::Array(_) => Ok(true),
            _ => Ok(self.value(id, &mut reader.clone(), &mut Vec::new(), 0).is_ok()),
        }
    }
}

/// The branch that an object's only key names.
fn named(union: &Union, reader: &Reader<'_>) -> Result<Option<usize>, PayloadFault> {
    let mut reader = reader.clone();
    let mut members = reader.object()?;
    let Some(key) = reader.key(&mut members)? else { return Ok(None) };
    let Some(branch) = union.named(&key) else { return Ok(None) };
    reader.skip()?;
    Ok(reader.key(&mut members)?.is_none().then_some(branch))
}

fn names(union: &Union) -> String {
    let names: Vec<_> = union.branches.iter().map(|branch| branch.name.clone()).collect();
    listed(&names)
}
