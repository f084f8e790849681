//! One request's person, language and page: known before any page begins.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::control::v1::WhoAmIRequest;
use lienthong_transport::Peer;
use rustls_pki_types::CertificateDer;

use crate::desk::Desk;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::pages::{self, PageInfo};
use crate::routes::House;
use crate::shell;
use crate::sign_in;

/// In which capacity somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator's officer.
    Operator,
    /// The operator's auditor.
    Auditor,
    /// An agency's security officer.
    Officer,
    /// The operator's steward of the catalog.
    Steward,
    /// The head of an agency.
    Head,
}

impl Role {
    /// Every role, in the order of the table of pages.
    pub const ALL: [Role; 5] = [Role::Operator, Role::Auditor, Role::Officer, Role::Steward, Role::Head];

    /// The word that the broker has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::Officer => "officer",
            Role::Steward => "steward",
            Role::Head => "head",
        }
    }

    /// What people call it.
    pub const fn title(self, lang: Lang) -> &'static str {
        match self {
            Role::Operator => lang.of("Cán bộ vận hành", "Operator"),
            Role::Auditor => lang.of("Kiểm toán viên", "Auditor"),
            Role::Officer => lang.of("Cán bộ an toàn thông tin", "Security officer"),
            Role::Steward => lang.of("Cán bộ quản lý danh mục", "Data steward"),
            Role::Head => lang.of("Thủ trưởng cơ quan", "Head of agency"),
        }
    }
}

/// Who looks.
#[derive(Clone, Debug)]
pub struct Person {
    /// Subject of his certificate.
    pub subject: String,
    /// In which capacity.
    pub role: Role,
    /// Code of his agency; empty for the operator's people.
    pub agency: String,
    /// Its Vietnamese name.
    pub agency_vi: String,
    /// Its English name.
    pub agency_en: String,
}

/// One visit.
#[derive(Clone)]
pub struct Visit {
    /// The house that is visited.
    pub house: House,
    /// In which language.
    pub lang: Lang,
    /// Who looks.
    pub person: Person,
    /// Which page.
    pub page: &'static PageInfo,
    /// Path and query behind the language, for the same page in the other language.
    pub address: String,
    /// The chain that the person showed.
    pub chain: Arc<[CertificateDer<'static>]>,
}

impl Visit {
    /// Where questions for this person are put.
    pub fn desk(&self) -> Desk {
        Desk::new(self.house.broker.clone(), &self.chain)
    }

    /// A path of the console in the visit's language.
    pub fn link(&self, path: &str) -> String {
        format!("/{}{path}", self.lang)
    }

    /// The text of the visit's language.
    pub fn text<'a>(&self, vi: &'a str, en: &'a str) -> &'a str {
        self.lang.of(vi, en)
    }

    /// Whether the person may see a page.
    pub fn may_see(&self, path: &str) -> bool {
        pages::find(path).is_some_and(|page| page.roles.contains(&self.person.role))
    }

    /// A page that could not be made.
    pub fn failed(&self, failure: &Failure) -> Response {
        (failure.code(), shell::failed(self, failure)).into_response()
    }
}

impl FromRequestParts<House> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, house: &House) -> Result<Self, Response> {
        let uri =
            parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.clone(), |uri| uri.0.clone());
        let code = uri.path().split('/').nth(1).unwrap_or_default();
        let lang = Lang::from_code(code).unwrap_or(Lang::Vi);
        let behind = |text: &str| {
            text.strip_prefix('/').and_then(|rest| rest.strip_prefix(code)).unwrap_or("").to_owned()
        };
        let template =
            parts.extensions.get::<MatchedPath>().map(|path| behind(path.as_str())).unwrap_or_default();
        let stranger =
            |failure: &Failure| (failure.code(), shell::stranger(house, lang, failure)).into_response();
        let chain = chain(parts, house).ok_or_else(|| stranger(&Failure::NobodySignedIn))?;
        let person = who(house, &chain).await.map_err(|failure| stranger(&failure))?;
        let address = uri.path_and_query().map(|both| behind(both.as_str())).unwrap_or_default();
        let page = pages::find(&template).ok_or_else(|| stranger(&Failure::NoSuchPage))?;
        let visit = Visit { house: house.clone(), lang, person, page, address, chain };
        if page.roles.contains(&visit.person.role) { Ok(visit) } else { Err(visit.failed(&Failure::Role)) }
    }
}

/// The chain that was proved in the handshake, or, in a trial, that of the person who was chosen.
fn chain(parts: &Parts, house: &House) -> Option<Arc<[CertificateDer<'static>]>> {
    let proved = parts.extensions.get::<Peer>().map(Peer::chain).filter(|chain| !chain.is_empty());
    proved.map(Arc::from).or_else(|| sign_in::chosen(&parts.headers, house.trial.as_deref()?))
}

/// Who that is, by the broker's registry.
async fn who(house: &House, chain: &[CertificateDer<'static>]) -> Result<Person, Failure> {
    let desk = Desk::new(house.broker.clone(), chain);
    let said = desk.status().who_am_i(WhoAmIRequest {}).await?.into_inner();
    let role = Role::ALL.into_iter().find(|role| role.word() == said.role).ok_or(Failure::Role)?;
    Ok(Person {
        subject: said.name,
        role,
        agency: said.agency,
        agency_vi: said.agency_name_vi,
        agency_en: said.agency_name_en,
    })
}
