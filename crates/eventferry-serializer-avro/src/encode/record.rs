//! Records: fields in the payload's order, written in the schema's.

use std::ops::Range;

use eventferry_schema_registry::PayloadFault;

use super::{Encoder, unlike};
use crate::schema::{Field, Record};
use eventferry_schema_registry::json::{Kind, Reader, at_root, within};

impl Encoder<'_> {
    pub(super) fn record(
        &self,
        record: &Record,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), PayloadFault> {
        let kind = reader.kind()?;
        if kind != Kind::Object {
            return Err(unlike(&format!("an object of the record `{}`", record.name), kind));
        }
        let mut members = reader.object()?;
        // While the fields come in the schema's order, they lie in it; from the first that does not, where each lies
        // is noted, and they are put in order at the end.
        let mut ordered = 0;
        let mut scattered: Option<Scattered> = None;
        let mut likely = 0;
        while let Some(key) = reader.key(&mut members)? {
            let Some(place) = record.place(&key, likely) else {
                let message = format!("the record `{}` has no such field", record.name);
                return Err(within(at_root(message), &key));
            };
            likely = place + 1;
            if place != ordered || scattered.is_some() {
                let scattered =
                    scattered.get_or_insert_with(|| Scattered::new(out.len(), record.fields.len()));
                if place < ordered || scattered.places[place].is_some() {
                    return Err(within(at_root("is there twice".to_owned()), &key));
                }
            }
            let start = out.len();
            self.value(record.fields[place].id, reader, out, depth).map_err(|fault| within(fault, &key))?;
            match &mut scattered {
                None => ordered += 1,
                Some(scattered) => scattered.places[place] = Some(start..out.len()),
            }
        }
        match scattered {
            None => {
                for field in &record.fields[ordered..] {
                    out.extend_from_slice(default(field)?);
                }
            }
            Some(scattered) => {
                let written = out.split_off(scattered.start);
                for (field, place) in record.fields.iter().zip(scattered.places).skip(ordered) {
                    match place {
                        Some(Range { start, end }) => {
                            out.extend_from_slice(&written[start - scattered.start..end - scattered.start]);
                        }
                        None => out.extend_from_slice(default(field)?),
                    }
                }
            }
        }
        self.bounded(out)
    }

    /// Whether an object's keys are those of the record: each a field, and all there that have no default.
    pub(super) fn has_fields_of(&self, record: &Record, reader: &Reader<'_>) -> Result<bool, PayloadFault> {
        let mut reader = reader.clone();
        let mut members = reader.object()?;
        let mut is_there = vec![false; record.fields.len()];
        let mut likely = 0;
        while let Some(key) = reader.key(&mut members)? {
            let Some(place) = record.place(&key, likely) else { return Ok(false) };
            is_there[place] = true;
            likely = place + 1;
            reader.skip()?;
        }
        Ok(record.fields.iter().zip(is_there).all(|(field, is_there)| is_there || field.default.is_some()))
    }
}

/// Where fields lie that came out of order.
struct Scattered {
    /// Where the first of them lies.
    start: usize,
    places: Vec<Option<Range<usize>>>,
}

impl Scattered {
    fn new(start: usize, fields: usize) -> Self {
        Self { start, places: vec![None; fields] }
    }
}

fn default(field: &Field) -> Result<&[u8], PayloadFault> {
    field.default.as_deref().ok_or_else(|| {
        within(at_root("is missing, and the schema has no default for it".to_owned()), &field.name)
    })
}
