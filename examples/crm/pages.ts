/** The pages of the example, as HTML. */

export interface Organization {
  id: string;
  name: string;
}

export interface Deal {
  id: string;
  title: string;
  value: string;
  stage: string;
}

const STYLE = `
  body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: #1d2430; background: #fbf7f2; }
  header { display: flex; gap: 20px; align-items: center; padding: 12px 24px; color: #fff; background: #6b2d5c; }
  header a { color: #fff; } header b { margin-right: auto; font-size: 18px; }
  main { max-width: 1200px; margin: 0 auto; padding: 24px; }
  table { width: 100%; border-collapse: collapse; background: #fff; }
  th, td { padding: 10px 14px; border-bottom: 1px solid #eadfd4; text-align: left; }
  button, input { font: inherit; padding: 6px 12px; border: 1px solid #b9a99a; border-radius: 6px; }
  button { cursor: pointer; color: #fff; border-color: #6b2d5c; background: #6b2d5c; }
  form { display: flex; flex-wrap: wrap; gap: 10px; margin: 14px 0; }
  iframe { display: block; width: 100%; height: 78vh; border: 1px solid #eadfd4; border-radius: 10px; background: #fff; }
`;

const safe = (text: unknown) => String(text).replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);

export function page(title: string, content: string, organization?: Organization): string {
  const links = organization
    ? `<a href="/">Deals</a> <a href="/settings/webhooks">Settings</a> <span>${safe(organization.name)}</span>`
    : '';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${safe(title)}</title>
    <meta name="viewport" content="width=device-width, initial-scale=1"><style>${STYLE}</style>
    <header><b>Plum CRM</b> ${links}</header><main><h1>${safe(title)}</h1>${content}</main></html>`;
}

export function signInPage(organizations: readonly Organization[]): string {
  const buttons = organizations.map(
    ({ id, name }) => `<button name="organization" value="${safe(id)}">Sign in as ${safe(name)}</button>`,
  );
  return page('Welcome', `<form method="post" action="/sign-in">${buttons.join('')}</form>`);
}

export function dealsPage(organization: Organization, deals: readonly Deal[]): string {
  const rows = deals.map(
    ({ id, title, value, stage }) => `<tr><td>${safe(title)}</td><td>${safe(value)}</td><td>${safe(stage)}</td>
      <td>${stage === 'won' ? '' : `<form method="post" action="/deals"><button name="won" value="${safe(id)}">Won</button></form>`}</td></tr>`,
  );
  return page(
    'Deals',
    `<form method="post" action="/deals">
       <input name="title" aria-label="Title" placeholder="Title" required>
       <input name="value" aria-label="Value" type="number" step="0.01" placeholder="Value" required>
       <button>Add deal</button>
     </form>
     <table><thead><tr><th>Title</th><th>Value</th><th>Stage</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`,
    organization,
  );
}

/** The link works once. The frame may use the clipboard, for secrets that are copied. */
export function settingsPage(organization: Organization, link: string): string {
  return page(
    'Settings: webhooks',
    `<iframe src="${safe(link)}" title="Webhooks" allow="clipboard-write"></iframe>`,
    organization,
  );
}
