//! Choosing a person in a development mesh: a browser without a certificate may be one of the people whom the configuration
//! names, on this machine only. A real mesh has no such door.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use axum::extract::State;
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use lienthong_certs::{PeerCertificate, files};
use maud::{Markup, html};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::failure::Failure;
use crate::format::common_name;
use crate::lang::Lang;
use crate::routes::House;
use crate::server::ConsoleError;
use crate::shell;

/// Visitors who are remembered at one time; the oldest is forgotten first.
const VISITORS_MAX: usize = 1_000;

const COOKIE_NAME: &str = "lienthong_trial";

/// The people whom a visitor may choose to be.
#[derive(Debug)]
pub struct Trial {
    people: Vec<Named>,
    visitors: Mutex<Vec<(String, usize)>>,
}

#[derive(Debug)]
struct Named {
    subject: String,
    chain: Arc<[CertificateDer<'static>]>,
}

impl Trial {
    /// Reads their certificates.
    ///
    /// # Errors
    /// [`ConsoleError`] naming the file.
    pub fn open(paths: &[PathBuf]) -> Result<Trial, ConsoleError> {
        let read = |path: &PathBuf| {
            let chain = files::certificates(path)?;
            let leaf = PeerCertificate::read(&chain)
                .map_err(|source| ConsoleError::Person { path: path.clone(), source })?;
            Ok(Named { subject: leaf.subject.text, chain: chain.into() })
        };
        let people = paths.iter().map(read).collect::<Result<_, ConsoleError>>()?;
        Ok(Trial { people, visitors: Mutex::default() })
    }

    fn enter(&self, person: usize) -> Result<String, Failure> {
        let mut token = [0; 32];
        rand::fill(&mut token).map_err(|_| Failure::Forged)?;
        let token = hex::encode(token);
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        if visitors.len() >= VISITORS_MAX {
            visitors.remove(0);
        }
        visitors.push((token.clone(), person));
        Ok(token)
    }

    fn visitor(&self, token: &str) -> Option<&Named> {
        let visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, person) = visitors.iter().find(|(known, _)| known == token)?;
        self.people.get(*person)
    }
}

/// The chain of the person whom the visitor chose.
pub fn chosen(headers: &HeaderMap, trial: &Trial) -> Option<Arc<[CertificateDer<'static>]>> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let token = cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))?;
    Some(Arc::clone(&trial.visitor(token)?.chain))
}

/// The page on which a visitor chooses.
pub async fn page(State(house): State<House>, Extension(lang): Extension<Lang>) -> Response {
    match &house.trial {
        None => missing(&house, lang),
        Some(trial) => {
            shell::frame(&house, lang, lang.of("Đăng nhập thử", "Trial sign-in"), &choice(trial, lang))
                .into_response()
        }
    }
}

/// What the visitor chose.
#[derive(Debug, Deserialize)]
pub struct Choice {
    person: usize,
}

/// Remembers the choice. A form of another site changes nothing but who the visitor is in a trial; the cookie stays with
/// this site alone.
pub async fn choose(
    State(house): State<House>,
    Extension(lang): Extension<Lang>,
    Form(choice): Form<Choice>,
) -> Response {
    let Some(trial) = &house.trial else { return missing(&house, lang) };
    if choice.person >= trial.people.len() {
        return missing(&house, lang);
    }
    match trial.enter(choice.person) {
        Ok(token) => {
            let cookie = format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict");
            (StatusCode::SEE_OTHER, [(LOCATION, format!("/{lang}/")), (SET_COOKIE, cookie)]).into_response()
        }
        Err(failure) => (failure.code(), shell::stranger(&house, lang, &failure)).into_response(),
    }
}

fn missing(house: &House, lang: Lang) -> Response {
    let failure = Failure::NoSuchPage;
    (failure.code(), shell::stranger(house, lang, &failure)).into_response()
}

fn choice(trial: &Trial, lang: Lang) -> Markup {
    html! {
        header.top {
            span.brand { "Liên Thông" }
            p.who {}
            p.language { a href=(format!("/{}/sign-in", lang.other())) lang=(lang.other().code()) { (lang.other().own_name()) } }
        }
        div.body {
            main #content tabindex="-1" {
                h1 { (lang.of("Đăng nhập thử", "Trial sign-in")) }
                p {
                    (lang.of(
                        "Trong môi trường thật, trình duyệt xuất trình chứng thư số công vụ của bạn. Ở đây bạn chọn một người.",
                        "In a real mesh your browser shows your official-use certificate. Here you choose a person.",
                    ))
                }
                form method="post" action=(format!("/{lang}/sign-in")) {
                    ul.people {
                        @for (place, person) in trial.people.iter().enumerate() {
                            li { button name="person" value=(place) { (common_name(&person.subject)) " – " (person.subject) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_visitor_is_whom_he_chose_and_nobody_without_his_cookie() {
        let person = |name: &str| Named {
            subject: name.to_owned(),
            chain: [CertificateDer::from(name.as_bytes().to_vec())].into(),
        };
        let trial = Trial { people: vec![person("a"), person("b")], visitors: Mutex::default() };
        let token = trial.enter(1).unwrap();
        let headers = |cookie: &str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())]);
        assert_eq!(
            chosen(&headers(&format!("x=1; {COOKIE_NAME}={token}")), &trial).unwrap()[0].as_ref(),
            b"b"
        );
        for wrong in
            ["", "lienthong_trial=", "lienthong_trial=00", &token, &format!("x{COOKIE_NAME}={token}")]
        {
            assert!(chosen(&headers(wrong), &trial).is_none(), "{wrong}");
        }
        for _ in 0..VISITORS_MAX {
            trial.enter(0).unwrap();
        }
        assert!(trial.visitor(&token).is_none());
    }
}
