/** JSON texts that stay as they are within a larger JSON text. It also runs in browsers. */

/**
 * A JSON text that goes into a larger one unchanged. JSON.parse would change numbers, and the order
 * of keys that are numbers.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** No value of ours holds this mark, and no text that is made shows it. */
const MARK = `${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}:`;
const MARKED = new RegExp(`"\\\\u0001${MARK}(\\d+)"`, 'g');

/** As JSON.stringify, with each JsonText as its text, and each bigint with all of its digits. */
export function toJson(value: unknown): string {
  const texts: string[] = [];
  const place = (text: string) => `\u0001${MARK}${texts.push(text) - 1}`;
  const json = JSON.stringify(value, (_, each) => {
    if (each instanceof JsonText) return place(each.text);
    return typeof each === 'bigint' ? place(String(each)) : each;
  });
  return texts.length === 0 ? json : json.replace(MARKED, (_, index) => texts[Number(index)] as string);
}
