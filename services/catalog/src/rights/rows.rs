//! From the rights of a bundle to the rows of its table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lienthong_filter::HashKey;
use lienthong_proto::lienthong::control::v1::{Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose, Sharing};

use super::identities::Identities;
use super::load::Problems;
use super::plans::Hashing;
use super::served::DatasetSlots;
use super::table::{ANY_CONSUMER, FieldList, Key, NewRight, RightParts};
use super::{Dataset, Moment, RightTable};
use crate::code;
use crate::condition::Condition;
use crate::condition::text::About;
use crate::condition::vocabulary::check_condition;

/// The table of all rights that make sense; field lists go into their datasets on the way.
pub(super) fn table(
    rights: &[Right],
    datasets: &mut [Dataset],
    dataset_slots: &DatasetSlots<'_>,
    identities: &Identities,
    agency: Option<&str>,
    problems: &mut Problems,
) -> RightTable {
    let mut work = Work {
        datasets,
        dataset_slots,
        identities,
        agency,
        field_lists: HashMap::new(),
        bases: HashMap::new(),
        legal_bases: Vec::new(),
        condition_slots: HashMap::new(),
        conditions: Vec::new(),
    };
    let mut rows = Vec::with_capacity(rights.len());
    let mut seen = HashSet::with_capacity(rights.len());
    for right in rights {
        let row = if seen.insert(right.id.as_str()) { work.row(right) } else { Err("its id comes twice") };
        match row {
            Ok(row) => rows.push(row),
            Err(why) => problems.note(format!("right {} is left out: {why}", right.id)),
        }
    }
    RightTable::new(identities.parties_count(), rows, work.legal_bases, work.conditions)
}

/// What turning rights into rows needs, and what it gathers on the way.
struct Work<'a> {
    datasets: &'a mut [Dataset],
    dataset_slots: &'a DatasetSlots<'a>,
    identities: &'a Identities,
    /// Code of the agency whose node this is.
    agency: Option<&'a str>,
    /// Slot of each field list as written, by dataset; per key where one makes it differ.
    field_lists: HashMap<FieldListKey<'a>, Option<u32>>,
    bases: HashMap<&'a [String], u32>,
    legal_bases: Vec<Vec<String>>,
    /// Slot of each condition as written, by dataset; `None` where it cannot be judged.
    condition_slots: HashMap<(u32, &'a str), Option<u32>>,
    conditions: Vec<Arc<Condition>>,
}

#[derive(PartialEq, Eq, Hash)]
struct FieldListKey<'a> {
    dataset: u32,
    fields: &'a [String],
    masked: &'a [String],
    hash_key: &'a [u8],
}

impl<'a> Work<'a> {
    fn row(&mut self, right: &'a Right) -> Result<NewRight, &'static str> {
        let slot = self.dataset_slots.get(&(right.provider.as_str(), right.dataset.as_str())).copied();
        let slot = slot.ok_or("its dataset is not in the bundle")?;
        let consumer = self.consumer(right, slot)?;
        let purpose = purpose(right)?;
        let methods: Vec<MethodKind> = right.methods().collect();
        if methods.is_empty()
            || right.methods.len() != methods.len()
            || methods.contains(&MethodKind::Unspecified)
        {
            return Err("it does not say which methods it grants (R-02)");
        }
        let valid_from =
            right.valid_from.and_then(Moment::of).ok_or("it does not say from when it is valid")?;
        let valid_to = match right.valid_to {
            None => Moment::END_OF_TIME,
            Some(end) => Moment::of(end).ok_or("its end is no time")?,
        };
        Ok(NewRight::new(&RightParts {
            id: &right.id,
            key: Key { consumer, dataset: slot, purpose: purpose as i32 },
            system: self.system(right)?,
            origin: right.origin(),
            methods: &methods,
            suspended: right.suspended,
            field_list: self
                .field_list(right, slot)
                .ok_or("its field list does not fit the contract (R-24)")?,
            condition: self.condition(&right.condition, slot)?,
            calls_per_minute_max: right.calls_per_minute_max,
            valid_from,
            valid_to,
            legal_basis: self.legal_basis(&right.legal_basis),
        }))
    }

    fn consumer(&self, right: &Right, dataset: u32) -> Result<u32, &'static str> {
        let sharing = self.datasets[dataset as usize].contract.options().sharing();
        if right.consumer.is_empty() {
            return match (right.origin(), sharing) {
                (RightOrigin::Open, Sharing::Open) => Ok(ANY_CONSUMER),
                _ => Err("only open data may be granted to everybody (R-22)"),
            };
        }
        let party =
            self.identities.party_facts(&right.consumer).ok_or("its consumer is not in the bundle")?;
        if party.outside {
            return Err("its consumer is outside the political system (R-15)");
        }
        if matches!(sharing, Sharing::Private | Sharing::Unspecified)
            && !code::is_within(&right.consumer, &right.provider)
        {
            return Err("private data stays inside the owner's code subtree (R-23)");
        }
        Ok(party.slot)
    }

    fn system(&self, right: &Right) -> Result<Option<u32>, &'static str> {
        if right.system.is_empty() {
            return Ok(None);
        }
        let system = self.identities.system(&right.system).ok_or("its system is not in the bundle")?;
        if system.agency != right.consumer {
            return Err("its system is not the consumer's (R-34)");
        }
        Ok(self.identities.system_facts(&right.system).map(|facts| facts.slot))
    }

    fn field_list(&mut self, right: &'a Right, dataset: u32) -> Option<u32> {
        let key = FieldListKey {
            dataset,
            fields: &right.fields,
            masked: &right.masked_fields,
            hash_key: &right.hash_key,
        };
        if let Some(known) = self.field_lists.get(&key) {
            return *known;
        }
        let into = &mut self.datasets[dataset as usize];
        let fields = into
            .contract
            .grant(&right.fields, &right.masked_fields)
            .ok()
            .filter(|fields| !fields.ids.is_empty());
        let slot = fields.and_then(|fields| {
            let hashing = match HashKey::new(&right.hash_key) {
                Ok(key) => Hashing::Key(key),
                Err(_) if self.agency == Some(&right.provider) => Hashing::NoKey,
                Err(_) => Hashing::Elsewhere,
            };
            into.field_lists.push(FieldList { fields, hashing });
            u32::try_from(into.field_lists.len() - 1).ok()
        });
        self.field_lists.insert(key, slot);
        slot
    }

    /// A condition that this node cannot judge makes the right useless: without its condition it would reach too far.
    fn condition(&mut self, text: &'a str, dataset: u32) -> Result<Option<u32>, &'static str> {
        if text.is_empty() {
            return Ok(None);
        }
        let (datasets, conditions) = (&*self.datasets, &mut self.conditions);
        let slot = *self.condition_slots.entry((dataset, text)).or_insert_with(|| {
            let condition = Condition::parse(text).ok()?;
            if condition.names().about == About::Record {
                check_condition(&condition, datasets[dataset as usize].contract.record()).ok()?;
            }
            conditions.push(Arc::new(condition));
            u32::try_from(conditions.len() - 1).ok()
        });
        slot.map(Some).ok_or("its condition on the rows cannot be judged (R-24)")
    }

    fn legal_basis(&mut self, basis: &'a [String]) -> u32 {
        *self.bases.entry(basis).or_insert_with(|| {
            self.legal_bases.push(basis.to_vec());
            u32::try_from(self.legal_bases.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn purpose(right: &Right) -> Result<Purpose, &'static str> {
    match (Purpose::try_from(right.purpose), right.origin()) {
        (_, RightOrigin::Unspecified) => Err("it does not say where it comes from"),
        (Err(_), _) => Err("its purpose is unknown (R-24)"),
        (Ok(Purpose::Commercial), _) => Err("trade is no purpose of this mesh (R-29)"),
        (Ok(Purpose::Unspecified), RightOrigin::Open | RightOrigin::Default) => Ok(Purpose::Unspecified),
        (Ok(Purpose::Unspecified), _) => Err("it states no purpose (R-24)"),
        (Ok(_), RightOrigin::Open) => Err("open data is open for any purpose"),
        (Ok(purpose), _) => Ok(purpose),
    }
}
