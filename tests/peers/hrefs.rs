//! A tracked link opens what the link as it was written would have opened: each is clicked in Chromium before and after.

use super::browser::Pairs;
use super::mailbox::{copy_for, send};
use crate::support::relay::{Running, Upstream};

/// Attributes as senders and their tools write them. What is behind none of these groups is tracked: it stays, and what
/// stays cannot lead elsewhere.
const TRACKED: &[&str] = &[
    // quotes, case, white space around name and value, over several lines
    r#"href="https://shop.example/1""#,
    r"href='https://shop.example/2'",
    r"href=https://shop.example/3",
    r#"HREF = "https://shop.example/4" "#,
    r#"hReF="HTTPS://Shop.EXAMPLE/5""#,
    "\r\n  href\r\n=\r\n\t'https://shop.example/6'\r\n",
    "href=\" \t https://shop.example/7 \r\n \"",
    "href=\"https://shop.example/8/over\r\n\t/several/\r\nlines?a=b\r\nc\"",
    "href=\"ht\r\ntps://shop\t.example/9\"",
    r#"title="a > b" href="https://shop.example/10" title='"'"#,
    r#"href="https://shop.example/11" href="https://other.example/""#,
    r#"href="https://shop.example/12"HREF='https://other.example/'"#,
    r"href=https://shop.example/13?q='a'`b",
    r"href=https://shop.example/14/",
    // entities: named, numbers, without semicolon, that are none, twice
    r#"href="https://shop.example/20?a=1&amp;b=2""#,
    r#"href="https://shop.example/21?a=1&#38;b=2&#x26;c=3&#X26;d""#,
    r#"href="https://shop.example/22?a=1&b=2&copy=3&copy;&lt=4&lt;""#,
    r#"href="https://shop.example/23?a=1&amp;amp;b&ampc&amp=d""#,
    r#"href="&#104;&#x74;tp&#115&colon;&sol;&sol;shop.example/24""#,
    r#"href="https://shop.example/25?&notit;&not;&nosuch;&#;&#x;&#xzz;""#,
    r#"href="https://shop.example/26/&eacute;&#233;&#xe9;&Eacute""#,
    r#"href="https://shop.example/27?&#x80;&#0;&#xD800;&#x110000;""#,
    r#"href="https://shop.example/28&Tab;x&NewLine;y""#,
    r#"href="https://shop.example/29?a=&quot;b&quot;&apos;c""#,
    r#"href='https://shop.example/30?a="b"&#39;c'"#,
    r#"href="https://shop.example/31?a=&nbsp;b&shy;c""#,
    // raw spaces and characters that a URL may not have
    r#"href="https://shop.example/40/a b c?d e#f g""#,
    r#"href="https://shop.example/41/<x>?<y>#<z>""#,
    r#"href="https://shop.example/42/^`|\?^`|\#^`|\""#,
    r#"href="https://shop.example/43/{a,b}?{1,2}""#,
    r#"href="https://shop.example/44/[1]?a[]=2&b[c]=3""#,
    // percent signs that are none, encoded letters, dots, several ? and #
    r#"href="https://shop.example/50/%zz/%4/%?%&%41%2f%2F""#,
    r#"href="https://shop.example/51/%E4%F6%FC?%c3%a4""#,
    r#"href="https://shop.example/52/a/../b/./c/%2e%2e/d""#,
    r#"href="https://shop.example/53?a?b??c=d?""#,
    r#"href="https://shop.example/54#a#b?c#""#,
    r##"href="https://shop.example/55?#""##,
    r#"href="https://shop.example/56//double//slash/;p=1;q=2,3""#,
    r#"href="https://shop.example/57?u=https://other.example/?a=b&v=c%26d+e""#,
    r#"href="https://shop.example/58/@user/a:b@c!$'()*,=~""#,
    r#"href="https://shop.example#fragment-at-once""#,
    r#"href="https://shop.example?query-at-once""#,
    r##"href="https://shop.example/60#:~:text=a%20b""##,
    // hosts: ports, user, address literals, dots, underscores, backslashes, beyond ASCII in every form
    r#"href="https://shop.example:8443/70""#,
    r#"href="https://shop.example:/71""#,
    r#"href="http://shop.example:80/72""#,
    r#"href="https://user:pass%40word@shop.example/73""#,
    r#"href="https://a@b@shop.example/74""#,
    r#"href="http://192.0.2.7/75""#,
    r#"href="http://[2001:DB8::7]/76""#,
    r#"href="https://shop.example./77""#,
    r#"href="https://under_score.shop.example/78""#,
    r#"href="https://shop.example\79\back\slash?a\b""#,
    r#"href="https://bücher.example/80/käse?größe=ü#ß""#,
    r#"href="https://xn--bcher-kva.example/81""#,
    r#"href="https://faß.example/82""#,
    r#"href="https://ＳＨＯＰ。example/83""#,
    r#"href="https://日本語.example/84/道?路=木""#,
    r#"href="https://shop.example/85/😀?😀#😀""#,
    r#"href="http://0x7f.1.example/86""#,
];

/// What is left as it is: no web address as browsers read it, or one that they do not agree on.
const LEFT: &[&str] = &[
    r##"href="#top""##,
    r#"href="/relative?a=b""#,
    r#"href="//shop.example/no-scheme""#,
    r#"href="mailto:a@example.com?subject=x""#,
    r#"href="tel:+49-30-1""#,
    r#"href="http:/shop.example/one-slash""#,
    r#"href="http:///shop.example/three""#,
    r#"href="https:\\shop.example\back""#,
    r#"href="https://shop.example:99999/port""#,
    r#"href="https://sh op.example/""#,
    r#"href="https://{{host}}/x""#,
    r#"href="https://shop.example/{{path}}""#,
    r#"href="https://shop.example/unsubscribe?u=1""#,
    "href=\"https://shop.example/\u{1}control\"",
    r#"data-waxseal="x" href="javascript:alert(1)""#,
];

#[test]
#[ignore = "needs chromium, node, playwright-core and python3"]
fn a_click_opens_what_it_would_have_opened() {
    let relay = Running::start(Upstream::Inbox, "");
    let mut pairs = Pairs::new();
    let bases = [("plain", ""), ("base", "<base href=\"https://base.example/folder/\">")];
    for (name, head) in bases {
        let anchors = |kind: &str, list: &[&str]| -> String {
            list.iter().enumerate().map(|(n, href)| format!("<p><a id={kind}{n} {href}>x</a></p>\r\n")).collect()
        };
        let html = format!(
            "<!DOCTYPE html>\r\n<html><head>{head}</head><body>\r\n{}{}</body></html>\r\n",
            anchors("tracked", TRACKED),
            anchors("left", LEFT)
        );
        let mail = format!(
            "From: Ana <a@example.com>\r\nTo: Ben <b@ok.test>\r\nSubject: Links\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{html}"
        );
        let to = format!("{name}@ok.test");
        send(&relay, &to, mail.as_bytes());
        pairs.add(name, mail.as_bytes(), &copy_for(&relay, &to));
    }
    let said = pairs.look("hrefs.js", &relay);
    println!("{said}");
    assert!(said.contains(&format!("{} links opened", 2 * TRACKED.len())), "{said}");
}
