//! `/api`: the reference of the API as a page, made from its OpenAPI document.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::error::PageError;
use super::{Frame, html};
use crate::admin::visitor::Visitor;
use crate::admin::{Site, api};

#[derive(Template)]
#[template(path = "reference.html")]
struct ReferencePage {
    frame: Frame,
    words: Prose,
    operations: Vec<Operation>,
    shapes: Vec<Shape>,
}

struct Operation {
    verb: String,
    path: String,
    words: Prose,
    /// Name and words of what the query takes.
    query: Vec<(String, Prose)>,
    takes: String,
    gives: String,
}

struct Shape {
    name: String,
    words: Prose,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    words: Prose,
}

/// Text in pieces; `true`: what stood between backticks.
type Prose = Vec<(bool, String)>;

/// `GET /api`
pub(super) async fn page(State(site): State<Arc<Site>>, visitor: Visitor) -> Result<Response, PageError> {
    let document = serde_json::to_value(api::openapi::document_of_all()).map_err(|_| PageError::Broken)?;
    let frame = Frame::of(&site, &visitor, "API", "/api");
    let (words, operations) = (prose(&document["info"]["description"]), operations(&document));
    Ok(html(&ReferencePage { frame, words, operations, shapes: shapes(&document) }))
}

fn operations(document: &Value) -> Vec<Operation> {
    let items = document["paths"].as_object().into_iter().flatten();
    let verbs = items.flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |verb| (path, verb)));
    let read = |(path, (verb, operation)): (&String, (&String, &Value))| Operation {
        verb: verb.to_uppercase(),
        path: path.clone(),
        words: prose(&operation["summary"]),
        query: query(operation),
        takes: body(&operation["requestBody"]),
        gives: given(operation),
    };
    verbs.map(read).collect()
}

fn query(operation: &Value) -> Vec<(String, Prose)> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let asked = all.filter(|parameter| parameter["in"] == "query");
    asked.map(|parameter| (text(&parameter["name"]), prose(&parameter["description"]))).collect()
}

/// What a good answer brings.
fn given(operation: &Value) -> String {
    let answers = operation["responses"].as_object().into_iter().flatten();
    answers.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| body(answer)).collect()
}

/// The shape of a body, or its media type when that says more.
fn body(of: &Value) -> String {
    match of["content"].as_object().and_then(|content| content.iter().next()) {
        Some((kind, content)) if kind.contains("json") => kind_of(&content["schema"]),
        Some((kind, _)) => kind.clone(),
        None => String::new(),
    }
}

fn shapes(document: &Value) -> Vec<Shape> {
    let all = document["components"]["schemas"].as_object().into_iter().flatten();
    let read = |(name, schema): (&String, &Value)| {
        // A shape that holds another one's fields is a list of both.
        let parts: Vec<&Value> =
            schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
        let fields = parts.into_iter().flat_map(|part| match part["properties"].as_object() {
            Some(fields) => fields.iter().map(field).collect::<Vec<_>>(),
            None if part.get("$ref").is_some() => {
                vec![Field {
                    name: "…".to_owned(),
                    kind: kind_of(part),
                    words: vec![(false, "All of its fields".to_owned())],
                }]
            }
            None => Vec::new(),
        });
        Shape { name: name.clone(), words: prose(&schema["description"]), fields: fields.collect() }
    };
    all.map(read).collect()
}

fn field((name, schema): (&String, &Value)) -> Field {
    Field { name: name.clone(), kind: kind_of(schema), words: prose(&schema["description"]) }
}

/// A type in few words: `string or null`, `list of Link`.
fn kind_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(either) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return either.iter().map(kind_of).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of(&schema["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let named = kinds.iter().map(|kind| match kind.as_str() {
                Some("array") => format!("list of {}", kind_of(&schema["items"])),
                other => other.unwrap_or_default().to_owned(),
            });
            named.collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".to_owned(),
    }
}

fn prose(value: &Value) -> Prose {
    let pieces = value.as_str().unwrap_or_default().split('`').enumerate();
    pieces.map(|(at, piece)| (at % 2 == 1, piece.to_owned())).filter(|(_, piece)| !piece.is_empty()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
