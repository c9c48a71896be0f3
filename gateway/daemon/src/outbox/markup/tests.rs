//! Tables: Markdown and the Telegram HTML that it becomes.

use super::markdown;

fn html(source: &str) -> String {
    let rich = markdown(source, &|_| true);
    rich.html(0..rich.text().len())
}

#[test]
fn markdown_becomes_telegram_html() {
    for (source, expected) in [
        ("a *b* **c** ~~d~~ `e<f`", "a <i>b</i> <b>c</b> <s>d</s> <code>e&lt;f</code>"),
        ("***x***", "<i><b>x</b></i>"),
        ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("# T\ntext", "<b>T</b>\n\ntext"),
        (
            "```rust ignore\nfn a() {}\n\n  b\n```\nx",
            "<pre><code class=\"language-rust\">fn a() {}\n\n  b</code></pre>\n\nx",
        ),
        ("```\n<&>\n```", "<pre>&lt;&amp;&gt;</pre>"),
        ("```\"><b>\nx\n```", "<pre>x</pre>"),
        ("    indented", "<pre>indented</pre>"),
        ("```js\nnot closed", "<pre><code class=\"language-js\">not closed</code></pre>"),
        ("- a\n- b\n  - c\n- d", "• a\n• b\n  ◦ c\n• d"),
        ("3. a\n4. b\n\nend", "3. a\n4. b\n\nend"),
        ("- a\n\n  more\n- b", "• a\n  more\n• b"),
        ("- [ ] a\n- [x] b", "• ☐ a\n• ☑ b"),
        ("- ```\n  x\n  ```\n- y", "• <pre>x</pre>\n• y"),
        ("> a\n> b\n\nc", "<blockquote>a\nb</blockquote>\n\nc"),
        ("> a\n>> b", "<blockquote>a\n\n» b</blockquote>"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        ("[t](https://e.org/?a=1&b=2)", "<a href=\"https://e.org/?a=1&amp;b=2\">t</a>"),
        ("[`c`](https://e.org)", "<a href=\"https://e.org\">c</a>"),
        ("<https://e.org>", "<a href=\"https://e.org\">https://e.org</a>"),
        ("<i>raw</i> <tg-button>", "&lt;i&gt;raw&lt;/i&gt; &lt;tg-button&gt;"),
        ("<div>\nraw\n</div>\n\nx", "&lt;div&gt;\nraw\n&lt;/div&gt;\n\nx"),
        ("&lt;b&gt; \\*x\\*", "&lt;b&gt; *x*"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
        ("", ""),
        ("****", "———"),
        ("**a", "**a"),
    ] {
        assert_eq!(html(source), expected, "{source:?}");
    }
}

#[test]
fn only_web_links_are_clickable() {
    for (source, expected) in [
        ("[t](javascript:alert(1))", "t"),
        ("[t](data:text/html,x)", "t"),
        ("[t](tg://proxy?server=x)", "t"),
        ("[t](file:///etc/passwd)", "t"),
        ("[t](/relative)", "t"),
        ("[t](#a)", "t"),
        ("[mail](mailto:a@b.org)", "mail (a@b.org)"),
        ("<a@b.org>", "a@b.org"),
        ("see tg://resolve?domain=x", "see tg[:]//resolve?domain=x"),
    ] {
        assert_eq!(html(source), expected, "{source:?}");
    }
}

#[test]
fn images_are_never_loaded() {
    assert_eq!(html("![alt](https://e.org/x.png)"), "<a href=\"https://e.org/x.png\">alt</a>");
    assert_eq!(html("![](https://e.org/x.png)"), {
        "<a href=\"https://e.org/x.png\">https://e.org/x.png</a>"
    });
    assert_eq!(html("[![alt](https://a.org/x.png)](https://b.org)"), "<a href=\"https://b.org\">alt</a>");
    assert_eq!(html("![alt](data:image/png;base64,AAAA)"), "alt");
}

#[test]
fn tables_are_aligned_in_fixed_width() {
    assert_eq!(
        html("| a | bb |\n|---|---:|\n| **x** | 1 |\n| 日本 | [l](https://e.org) |\n\nend"),
        "<pre>a    │                bb\n─────┼──────────────────\nx    │                 1\n日本 │ l (https://e.org)</pre>\n\nend"
    );
}

#[test]
fn little_markup_does_not_become_much_text() {
    let table = format!("|{}\n|{}\n{}", "a|".repeat(2_000), "-|".repeat(2_000), "|b\n".repeat(2_000));
    let reference = format!("{}\n\n[a]: https://e.org/{}", "[a] ".repeat(5_000), "x".repeat(1_500));
    for source in [
        table,
        reference,
        "> ".repeat(5_000) + "x",
        "- ".repeat(5_000) + "x",
        format!("{}x", "![".repeat(5_000)),
        "[".repeat(50_000),
        "*a ".repeat(20_000),
        format!("{}x{}", "**".repeat(5_000), "**".repeat(5_000)),
    ] {
        let rich = markdown(&source, &|_| true);
        let html = rich.html(0..rich.text().len());
        assert!(html.len() < 20 * source.len() + 300_000, "{} from {}", html.len(), source.len());
        let parts = crate::outbox::split::split(&rich, 4096).len();
        assert!(parts < source.len() / 300, "{parts} parts");
    }
}

#[test]
fn refused_links_are_defanged() {
    let own = |word: &str| word.contains("good.org");
    let shown = |source: &str| {
        let rich = markdown(source, &own);
        rich.html(0..rich.text().len())
    };
    for (source, expected) in [
        ("[t](https://evil.org/?d=1)", "t (hxxps://evil[.]org/?d=1)"),
        ("[t](https://good.org/x)", "<a href=\"https://good.org/x\">t</a>"),
        ("<https://evil.org>", "hxxps://evil[.]org"),
        ("![a](http://evil.org/a.png)", "a (hxxp://evil[.]org/a[.]png)"),
        ("go to https://evil.org/a.b now", "go to hxxps://evil[.]org/a[.]b now"),
        ("go to https://good.org/a.b now", "go to https://good.org/a.b now"),
        ("(see www.evil.org)", "(see www[.]evil[.]org)"),
        ("e**vil.o**rg/x", "e<b>vil[.]o</b>rg/x"),
        ("a@evil.org", "a@evil[.]org"),
        ("`evil.org`", "<code>evil.org</code>"),
        ("3.14 and e.g. this. That", "3.14 and e.g. this. That"),
        ("http://10.0.0.1/x", "hxxp://10[.]0[.]0[.]1/x"),
        ("http://localhost/x", "hxxp://localhost/x"),
        ("пример.рф/x", "пример[.]рф/x"),
    ] {
        assert_eq!(shown(source), expected, "{source:?}");
    }
}
