//! `/messages.csv`: the messages that a search finds, newest first, for a spreadsheet.
//!
//! Written as it is read, a page at a time. **Invariants:** no cell begins a formula; a file that is not whole says so in
//! its last line; a reader who goes away ends it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::PageError;
use super::feed::Pieces;
use super::messages::{Asked, query};
use super::query::Query;
use crate::admin::Site;
use crate::admin::actions::messages::{MESSAGES_PER_PAGE_MAX, MessageQuery, MessageRow};
use crate::admin::visitor::Visitor;

/// Rows of one file.
const ROWS_MAX: usize = 100_000;
/// Pages that wait for the reader.
const PIECES_MAX: usize = 2;
const HEADING: &str = "sent,from,subject,organisation,login,recipients,delivered,opens,clicks,machine_opens,machine_clicks,tracked,id\r\n";

/// `GET /messages.csv`
pub(super) async fn csv(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let query = MessageQuery { limit: MESSAGES_PER_PAGE_MAX, before: None, after: None, ..query(&asked)? };
    let first = site.actions.messages(&visitor.viewer, query.clone()).await?;
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        let (mut page, mut written) = (first, 0);
        let mut piece = HEADING.to_owned();
        loop {
            written += page.rows.len();
            piece.extend(page.rows.iter().map(line));
            let next = page.next.filter(|_| written < ROWS_MAX);
            if page.next.is_some() && next.is_none() {
                piece.push_str("There are more: only the newest are listed. Search for less.\r\n");
            }
            if pieces.send(Bytes::from(std::mem::take(&mut piece))).await.is_err() {
                return;
            }
            let Some(before) = next else { return };
            page = match site
                .actions
                .messages(&visitor.viewer, MessageQuery { before: Some(before), ..query.clone() })
                .await
            {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(%error, "an export ended early: {error}");
                    // Nobody is there to hear it when this fails.
                    drop(pieces.send(Bytes::from_static(b"This file is not whole: the history failed.\r\n")).await);
                    return;
                }
            };
        }
    });
    let head = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"messages.csv\""),
    ];
    Ok((head, Body::new(Pieces(body))).into_response())
}

fn line(row: &MessageRow) -> String {
    let (from, subject) = row.words.as_ref().map_or(("", ""), |words| (&words.from, &words.subject));
    let sent = super::words::moment(row.accepted_at_ms).iso;
    let mut cells = vec![sent, cell(from), cell(subject), row.org.as_str().to_owned()];
    cells.push(cell(row.login.as_deref().unwrap_or_default()));
    let numbers = [
        u64::from(row.recipients),
        u64::from(row.accepted),
        row.opens,
        row.clicks,
        row.machine_opens,
        row.machine_clicks,
    ];
    cells.extend(numbers.map(|number| number.to_string()));
    cells.push(if row.tracked { "yes" } else { "no" }.to_owned());
    // Quoted, else a spreadsheet reads an id such as 12e5 as a number.
    cells.push(cell(&format!("id {}", row.id)));
    let mut line = cells.join(",");
    line.push_str("\r\n");
    line
}

/// Always quoted (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe in front.
fn cell(text: &str) -> String {
    let shown = super::words::one_line(text);
    let formula = shown.trim_start().starts_with(['=', '+', '-', '@', '\u{fffd}', '＝', '＋', '－', '＠']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, shown.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        for (text, expected) in [
            // as it stands, quotes doubled, no line end inside
            ("Offer, \"today\"", "\"Offer, \"\"today\"\"\""),
            ("a\r\nb", "\"a\u{fffd}\u{fffd}b\""),
            ("", "\"\""),
            ("a=b", "\"a=b\""),
            // no formula, also behind blanks, tabs and in full-width letters
            ("=1+1", "\"'=1+1\""),
            ("+49", "\"'+49\""),
            ("-x", "\"'-x\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\u{fffd}=1\""),
            ("  =1", "\"'  =1\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
