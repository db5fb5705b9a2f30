/**
 * The templates of payload_format slack, discord and teams: the event's name, the organization, and
 * the first ten fields of the row. Texts are cut before they are escaped, so that the result stays
 * below the limits of the provider. docs/use/payloads.md shows how to write one's own.
 *
 * A changed template has another hash. Bodies that were sent keep the old one.
 */

/** What the three have in common. */
const HEAD = `{%- assign who = organization.name | default: organization.id | truncate: 60 -%}
{%- assign rows = data | fields: 10 -%}
{%- if previous %}{% assign changed = previous | fields: 10 | map: "name" | join: ", " | truncate: 100 -%}
{%- assign who = who | append: ", changed: " | append: changed %}{% endif -%}
{%- if test %}{% assign who = who | append: ", a test" %}{% endif -%}
`;

/** A header has 150 characters, a section 10 fields of 2,000. An escape has up to 5 characters. */
const SLACK = `${HEAD}{
  "text": {{ event | append: ": " | append: who | slack_escape | json }},
  "blocks": [
    {"type": "header", "text": {"type": "plain_text", "text": {{ event | truncate: 140 | json }}, "emoji": false}},
    {%- if rows.size > 0 %}
    {"type": "section", "fields": [
      {%- for row in rows -%}
      {%- capture text %}*{{ row.name | truncate: 60 | slack_escape }}*
{{ row.value | truncate: 250 | slack_escape }}{% endcapture %}
      {"type": "mrkdwn", "text": {{ text | json }}}{% unless forloop.last %},{% endunless %}
      {%- endfor %}
    ]},
    {%- endif %}
    {"type": "context", "elements": [
      {"type": "mrkdwn", "text": {{ who | append: ", " | append: timestamp | slack_escape | json }}}
    ]}
  ]
}`;

/** An embed has 25 fields, a title of 256, names of 256, values of 1,024, and 6,000 characters in all. */
const DISCORD = `${HEAD}{
  "embeds": [{
    "title": {{ event | truncate: 120 | markdown_escape | json }},
    "timestamp": {{ timestamp | json }},
    "footer": {"text": {{ who | markdown_escape | json }}},
    "fields": [
      {%- for row in rows %}
      {
        "name": {{ row.name | strip | truncate: 60 | default: "-" | markdown_escape | json }},
        "value": {{ row.value | strip | truncate: 180 | default: "-" | markdown_escape | json }},
        "inline": true
      }{% unless forloop.last %},{% endunless %}
      {%- endfor %}
    ]
  }],
  "allowed_mentions": {"parse": []}
}`;

/** A message has 28 kB. */
const TEAMS = `${HEAD}{
  "type": "message",
  "attachments": [{
    "contentType": "application/vnd.microsoft.card.adaptive",
    "contentUrl": null,
    "content": {
      "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
      "type": "AdaptiveCard",
      "version": "1.4",
      "body": [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": true,
         "text": {{ event | markdown_escape | json }}},
        {"type": "TextBlock", "isSubtle": true, "wrap": true,
         "text": {{ who | append: ", " | append: timestamp | markdown_escape | json }}},
        {"type": "FactSet", "facts": [
          {%- for row in rows %}
          {"title": {{ row.name | truncate: 60 | markdown_escape | json }},
           "value": {{ row.value | truncate: 250 | markdown_escape | json }}}
          {%- unless forloop.last %},{% endunless %}
          {%- endfor %}
        ]}
      ]
    }
  }]
}`;

export const CHAT_TEMPLATES = { slack: SLACK, discord: DISCORD, teams: TEAMS } as const;
