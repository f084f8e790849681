//! What one caller may see: the methods of a list, and every type and file that these need.
//!
//! What is not on the list does not exist in the result: no method, no service without methods, no message that
//! only they use. Common words (`google/…`, `lienthong/options/…`) stay whole, for they are nobody's secret.
//! Options and comments stay with what they belong to.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use prost::{DecodeError, Message};
use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FileDescriptor,
    Kind, MessageDescriptor, ReflectMessage, Value,
};
use prost_types::SourceCodeInfo;

/// Why a contract could not be cut. A contract that was published cannot cause it.
#[derive(Debug, thiserror::Error)]
pub enum NarrowError {
    /// The words of descriptors themselves.
    #[error("descriptor.proto is not built in")]
    NoDescriptors,
    /// A file is not what it was read from.
    #[error("a file of the contract cannot be read again: {0}")]
    Read(#[from] DecodeError),
    /// What is left does not resolve.
    #[error("what is left of the contract does not resolve: {0}")]
    Unresolved(#[from] DescriptorError),
}

/// Cuts a pool down to the methods with these gRPC paths and what they need. Paths that the pool does not have
/// are passed over; without any, nothing is left.
pub fn narrow(pool: &DescriptorPool, paths: &BTreeSet<String>) -> Result<DescriptorPool, NarrowError> {
    let reached = Reached::from(pool, paths);
    let mut kept: BTreeMap<String, Imports> = BTreeMap::new();
    let mut to_keep: VecDeque<FileDescriptor> =
        pool.files().filter(|file| file.services().any(|service| reached.has_service(&service))).collect();
    while let Some(file) = to_keep.pop_front() {
        if !kept.contains_key(file.name()) {
            let imports = reached.imports(&file);
            to_keep.extend(imports.files.iter().cloned());
            kept.insert(file.name().to_owned(), imports);
        }
    }
    let mut set = Vec::new();
    for (name, imports) in &kept {
        if let Some(file) = pool.get_file_by_name(name) {
            let cut = cut(&file, imports, &reached)?;
            prost::encoding::message::encode(1, &cut, &mut set);
        }
    }
    Ok(DescriptorPool::decode(set.as_slice())?)
}

/// True for files of common words (`google/…`, `lienthong/options/…`), which stay whole.
pub fn is_common(file: &FileDescriptor) -> bool {
    file.name().starts_with("google/") || file.name().starts_with("lienthong/options/")
}

/// What stays, by full name. Of messages and enums the outermost count: what is inside goes with them.
struct Reached<'a> {
    paths: &'a BTreeSet<String>,
    types: HashSet<String>,
    extensions: HashSet<String>,
    to_walk: Vec<MessageDescriptor>,
}

impl<'a> Reached<'a> {
    fn from(pool: &DescriptorPool, paths: &'a BTreeSet<String>) -> Self {
        let mut reached =
            Self { paths, types: HashSet::new(), extensions: HashSet::new(), to_walk: Vec::new() };
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            if reached.has_method(&method) {
                reached.message(&method.input());
                reached.message(&method.output());
            }
        }
        for file in pool.files().filter(is_common) {
            file.messages().for_each(|message| reached.message(&message));
            file.enums().for_each(|values| reached.enumeration(&values));
        }
        reached.walk();
        // An extension stays with what it extends; its own type may be extended in turn.
        loop {
            let before = reached.extensions.len();
            for extension in pool.all_extensions().filter(|extension| extension.parent_message().is_none()) {
                reached.extension(&extension);
            }
            reached.walk();
            if reached.extensions.len() == before {
                return reached;
            }
        }
    }

    fn has_method(&self, method: &prost_reflect::MethodDescriptor) -> bool {
        self.paths.contains(&format!("/{}/{}", method.parent_service().full_name(), method.name()))
    }

    fn has_service(&self, service: &prost_reflect::ServiceDescriptor) -> bool {
        service.methods().any(|method| self.has_method(&method))
    }

    fn message(&mut self, message: &MessageDescriptor) {
        let outermost = outermost(message.clone());
        if self.types.insert(outermost.full_name().to_owned()) {
            self.to_walk.push(outermost);
        }
    }

    fn enumeration(&mut self, values: &EnumDescriptor) {
        match values.parent_message() {
            Some(message) => self.message(&message),
            None => {
                self.types.insert(values.full_name().to_owned());
            }
        }
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        let extended = outermost(extension.containing_message());
        let of_options = extended.full_name().starts_with("google.protobuf.");
        if (of_options || self.types.contains(extended.full_name()))
            && self.extensions.insert(extension.full_name().to_owned())
        {
            self.message(&extended);
            self.kind(&extension.kind());
        }
    }

    fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(values) => self.enumeration(values),
            _ => {}
        }
    }

    fn walk(&mut self) {
        while let Some(message) = self.to_walk.pop() {
            message.fields().for_each(|field| self.kind(&field.kind()));
            for extension in message.child_extensions() {
                self.message(&extension.containing_message());
                self.kind(&extension.kind());
            }
            // Inside a message that stays, everything stays.
            self.to_walk.extend(message.child_messages());
        }
    }

    /// The imports that what stays of a file needs.
    fn imports(&self, file: &FileDescriptor) -> Imports {
        let used = if is_common(file) { None } else { Some(self.uses(file)) };
        let public: HashSet<String> =
            file.public_dependencies().map(|import| import.name().to_owned()).collect();
        let needed = |import: &FileDescriptor| {
            let offered = offered(import);
            match &used {
                None => true,
                Some(_) if public.contains(import.name()) => offered.iter().any(|file| self.holds(file)),
                Some(used) => offered.iter().any(|file| used.contains(file.name())),
            }
        };
        let all: Vec<FileDescriptor> = file.dependencies().collect();
        let stays = all.iter().map(needed).collect::<Vec<_>>();
        let files = all.into_iter().zip(&stays).filter_map(|(file, stays)| stays.then_some(file)).collect();
        Imports { stays, files }
    }

    fn holds(&self, file: &FileDescriptor) -> bool {
        file.messages().any(|message| self.types.contains(message.full_name()))
            || file.enums().any(|values| self.types.contains(values.full_name()))
            || file.extensions().any(|extension| self.extensions.contains(extension.full_name()))
    }

    /// Names of the files whose words the kept part of a file uses.
    fn uses(&self, file: &FileDescriptor) -> HashSet<String> {
        let mut uses = Uses::default();
        uses.options(&file.options());
        for service in file.services().filter(|service| self.has_service(service)) {
            uses.options(&service.options());
            for method in service.methods().filter(|method| self.has_method(method)) {
                uses.options(&method.options());
                uses.message(&method.input());
                uses.message(&method.output());
            }
        }
        for message in file.messages().filter(|message| self.types.contains(message.full_name())) {
            uses.everything_in(&message);
        }
        for values in file.enums().filter(|values| self.types.contains(values.full_name())) {
            uses.values(&values);
        }
        for extension in file.extensions().filter(|found| self.extensions.contains(found.full_name())) {
            uses.extension(&extension);
        }
        uses.0
    }
}

/// Which imports of a file stay.
struct Imports {
    /// By place in the file.
    stays: Vec<bool>,
    files: Vec<FileDescriptor>,
}

/// A file, and all that it imports publicly.
fn offered(file: &FileDescriptor) -> Vec<FileDescriptor> {
    let mut offered = vec![file.clone()];
    let mut next = 0;
    while let Some(file) = offered.get(next).cloned() {
        for import in file.public_dependencies() {
            if !offered.contains(&import) {
                offered.push(import);
            }
        }
        next += 1;
    }
    offered
}

fn outermost(mut message: MessageDescriptor) -> MessageDescriptor {
    while let Some(parent) = message.parent_message() {
        message = parent;
    }
    message
}

#[derive(Default)]
struct Uses(HashSet<String>);

impl Uses {
    fn file(&mut self, file: &FileDescriptor) {
        if !self.0.contains(file.name()) {
            self.0.insert(file.name().to_owned());
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.file(&message.parent_file());
    }

    fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(values) => self.file(&values.parent_file()),
            _ => {}
        }
    }

    fn options(&mut self, options: &DynamicMessage) {
        for (extension, value) in options.extensions() {
            self.file(&extension.parent_file());
            if let Value::Message(message) = value {
                self.options(message);
            }
        }
    }

    fn everything_in(&mut self, message: &MessageDescriptor) {
        self.options(&message.options());
        for field in message.fields() {
            self.options(&field.options());
            self.kind(&field.kind());
        }
        message.oneofs().for_each(|oneof| self.options(&oneof.options()));
        message.child_enums().for_each(|values| self.values(&values));
        message.child_extensions().for_each(|extension| self.extension(&extension));
        message.child_messages().for_each(|child| self.everything_in(&child));
    }

    fn values(&mut self, values: &EnumDescriptor) {
        self.options(&values.options());
        values.values().for_each(|value| self.options(&value.options()));
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        self.options(&extension.options());
        self.message(&extension.containing_message());
        self.kind(&extension.kind());
    }
}

/// The file without what does not stay.
///
/// It is cut as a message that keeps what it does not know: options are extensions, which the generated types of
/// descriptors drop.
fn cut(
    file: &FileDescriptor,
    imports: &Imports,
    reached: &Reached<'_>,
) -> Result<DynamicMessage, NarrowError> {
    const NAME: &str = "google.protobuf.FileDescriptorProto";
    let words = DescriptorPool::global().get_message_by_name(NAME).ok_or(NarrowError::NoDescriptors)?;
    let mut cut = DynamicMessage::decode(words, file.encode_to_vec().as_slice())?;
    let whole = is_common(file);
    let type_stays = |name: &str| whole || reached.types.contains(name);

    let mut places = Places::default();
    places.keep(&[3], imports.stays.clone());
    places.keep(&[4], file.messages().map(|message| type_stays(message.full_name())).collect());
    places.keep(&[5], file.enums().map(|values| type_stays(values.full_name())).collect());
    places.keep(
        &[7],
        file.extensions().map(|found| whole || reached.extensions.contains(found.full_name())).collect(),
    );
    for (place, service) in (0..).zip(file.services()) {
        places.keep(&[6, place, 2], service.methods().map(|method| reached.has_method(&method)).collect());
    }
    places.keep(&[6], file.services().map(|service| reached.has_service(&service)).collect());

    if let Some(services) = list(&mut cut, 6) {
        for (place, service) in (0..).zip(services.iter_mut()) {
            if let (Value::Message(service), Some(stays)) = (service, places.of(&[6, place, 2])) {
                retain(service, 2, stays);
            }
        }
    }
    for field in [3_u32, 4, 5, 6, 7] {
        if let Some(stays) = places.of(&[field.cast_signed()]) {
            retain(&mut cut, field, stays);
        }
    }
    for field in [10, 11] {
        if let Some(indices) = list(&mut cut, field) {
            let moved = indices.iter().filter_map(|index| places.moved(&[3], index.as_i32()?));
            *indices = moved.map(Value::I32).collect();
        }
    }
    if let Some(Value::Message(info)) = cut.get_field_by_number_mut(9) {
        let mut source = SourceCodeInfo::decode(info.encode_to_vec().as_slice())?;
        source.location.retain_mut(|location| places.relocate(&mut location.path));
        *info = DynamicMessage::decode(info.descriptor(), source.encode_to_vec().as_slice())?;
    }
    Ok(cut)
}

fn list(message: &mut DynamicMessage, field: u32) -> Option<&mut Vec<Value>> {
    if !message.has_field_by_number(field) {
        return None;
    }
    message.get_field_by_number_mut(field).and_then(Value::as_list_mut)
}

fn retain(message: &mut DynamicMessage, field: u32, stays: &[bool]) {
    if let Some(items) = list(message, field) {
        let mut stays = stays.iter();
        items.retain(|_| stays.next().copied().unwrap_or(true));
    }
}

/// Which elements of a repeated field stay, by the field's path in the file (descriptor.proto,
/// `SourceCodeInfo.Location.path`), with places as they were.
#[derive(Default)]
struct Places(Vec<(Vec<i32>, Vec<bool>)>);

impl Places {
    fn keep(&mut self, field: &[i32], stays: Vec<bool>) {
        self.0.push((field.to_vec(), stays));
    }

    fn of(&self, field: &[i32]) -> Option<&[bool]> {
        self.0.iter().find(|(path, _)| path == field).map(|(_, stays)| stays.as_slice())
    }

    /// Where an element is now; `None` if it is gone.
    fn moved(&self, field: &[i32], place: i32) -> Option<i32> {
        let place = usize::try_from(place).ok()?;
        match self.of(field) {
            None => i32::try_from(place).ok(),
            Some(stays) if stays.get(place) == Some(&true) => {
                i32::try_from(stays[..place].iter().filter(|stays| **stays).count()).ok()
            }
            Some(_) => None,
        }
    }

    /// Turns the path of a location into its new one; false if what it locates is gone.
    fn relocate(&self, path: &mut [i32]) -> bool {
        // Inner places first: fields are known by the paths as they were.
        for length in [4, 2] {
            if path.len() >= length && self.of(&path[..length - 1]).is_some() {
                match self.moved(&path[..length - 1], path[length - 1]) {
                    Some(place) => path[length - 1] = place,
                    None => return false,
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use lienthong_proto::{descriptors, options};

    use super::*;

    fn only(paths: &[&str]) -> DescriptorPool {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        narrow(&pool, &paths.iter().map(|path| (*path).to_owned()).collect()).unwrap()
    }

    #[test]
    fn only_the_methods_of_the_list_exist() {
        let pool = only(&["/vn.dancu.v1.CitizenService/GetCitizen", "/vn.dancu.v1.CitizenService/Nothing"]);
        let service = pool.get_service_by_name("vn.dancu.v1.CitizenService").unwrap();
        assert_eq!(
            service.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>(),
            ["GetCitizen"]
        );
        for there in ["GetCitizenRequest", "GetCitizenResponse", "Citizen"] {
            assert!(pool.get_message_by_name(&format!("vn.dancu.v1.{there}")).is_some(), "{there}");
        }
        for gone in ["VerifyRecordRequest", "ResidenceConfirmation", "SyncCitizensResponse"] {
            assert!(pool.get_message_by_name(&format!("vn.dancu.v1.{gone}")).is_none(), "{gone}");
        }
    }

    #[test]
    fn options_and_comments_stay_with_what_they_belong_to() {
        let pool = only(&["/vn.dancu.v1.CitizenService/VerifyRecord"]);
        let method = pool.services().next().unwrap().methods().next().unwrap();
        assert_eq!(options::exchange(&method).unwrap().dataset, "dancu.xac_nhan_cu_tru");
        let record = pool.get_message_by_name("vn.dancu.v1.ResidenceConfirmation").unwrap();
        assert_eq!(options::dataset(&record).unwrap().id, "dancu.xac_nhan_cu_tru");
        let comment = |path: &[i32]| {
            let info = method.parent_file().file_descriptor_proto().source_code_info.clone().unwrap();
            let found = info.location.into_iter().find(|location| location.path == path);
            found.unwrap().leading_comments().to_owned()
        };
        assert!(comment(method.path()).contains("Confirms claimed values"));
        assert!(comment(record.path()).contains("says to a claim"), "{}", comment(record.path()));
    }

    #[test]
    fn imports_that_nothing_needs_any_more_go() {
        let pool = descriptors::pool(descriptors::MESH).unwrap();
        let paths = ["/lienthong.registry.v1.RegistryService/GetAgency".to_owned()].into();
        let narrowed = narrow(&pool, &paths).unwrap();
        let names: Vec<String> = narrowed.files().map(|file| file.name().to_owned()).collect();
        let file = narrowed.get_file_by_name("lienthong/registry/v1/registry.proto").unwrap();
        let imports: Vec<String> = file.dependencies().map(|file| file.name().to_owned()).collect();
        assert_eq!(imports, ["lienthong/control/v1/rights.proto"], "{names:?}");
        assert!(!names.iter().any(|name| name.contains("audit")), "{names:?}");
    }

    #[test]
    fn everything_stays_of_what_may_all_be_called() {
        let pool = descriptors::pool(descriptors::DANCU).unwrap();
        let paths = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        let narrowed = narrow(&pool, &paths).unwrap();
        let name = "vn/dancu/v1/citizen.proto";
        assert_eq!(
            narrowed.get_file_by_name(name).unwrap().encode_to_vec(),
            pool.get_file_by_name(name).unwrap().encode_to_vec()
        );
        assert!(only(&[]).files().len() == 0);
    }
}
