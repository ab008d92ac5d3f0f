/** One element of an S3 reply. */
export interface XmlElement {
  /** Without its namespace prefix. */
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** The text directly inside, with its entities resolved. */
  readonly text: string;
}

/** A reply that is not the XML that S3 sends. */
export class XmlError extends Error {
  override name = 'XmlError';
}

interface OpenElement {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

/** Comments, declarations, CDATA and tags; quoted attribute values may hold '>'. */
const MARKUP =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([^\s/>"'=<!?]+)((?:"[^"]*"|'[^']*'|[^"'<>])*)>/y;

/** S3's replies nest four deep; a hostile one must not be able to exhaust the memory. */
const DEPTH_MAX = 32;

/**
 * Reads one XML document of the kind that S3 replies with: elements and text. Attributes and namespaces are
 * left out. Document types are refused, so no entities but XML's own five and character references exist.
 */
export function parseXml(document: string): XmlElement {
  const root: OpenElement = { name: '', children: [], text: '' };
  const open: OpenElement[] = [root];
  let position = document.startsWith('\ufeff') ? 1 : 0;
  while (position < document.length) {
    const next = document.indexOf('<', position);
    const end = next < 0 ? document.length : next;
    innermost(open).text += decodeEntities(document.slice(position, end));
    position = next < 0 ? end : readMarkup(document, next, open);
  }
  const [element] = root.children;
  if (open.length !== 1 || root.children.length !== 1 || element === undefined || root.text.trim() !== '') {
    throw new XmlError('not one whole XML element');
  }
  return element;
}

function innermost(open: readonly OpenElement[]): OpenElement {
  const element = open.at(-1);
  if (element === undefined) throw new XmlError('an element ends that did not begin');
  return element;
}

/** Takes the markup at `position` into account and returns where it ends. */
function readMarkup(document: string, position: number, open: OpenElement[]): number {
  MARKUP.lastIndex = position;
  const match = MARKUP.exec(document);
  if (match === null) throw new XmlError(`markup at character ${position} is not understood`);
  const [, characters, slash, qualifiedName, attributes] = match;
  if (characters !== undefined) innermost(open).text += characters;
  if (qualifiedName !== undefined) {
    const name = qualifiedName.slice(qualifiedName.indexOf(':') + 1);
    if (slash === '') begin(name, open);
    if (slash === '/' || attributes?.endsWith('/')) end(name, open);
  }
  return MARKUP.lastIndex;
}

function begin(name: string, open: OpenElement[]): void {
  if (open.length > DEPTH_MAX) throw new XmlError('elements are nested too deeply');
  const element: OpenElement = { name, children: [], text: '' };
  innermost(open).children.push(element);
  open.push(element);
}

function end(name: string, open: OpenElement[]): void {
  if (open.length < 2 || innermost(open).name !== name) throw new XmlError(`</${name}> ends nothing`);
  open.pop();
}

const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&([^;]*);?/g, (entity, name: string) => {
    const resolved = name.startsWith('#') ? decodeCharacter(name.slice(1)) : NAMED[name];
    if (resolved === undefined || !entity.endsWith(';'))
      throw new XmlError(`unknown entity ${entity.slice(0, 16)}`);
    return resolved;
  });
}

function decodeCharacter(digits: string): string | undefined {
  const isHex = /^x[0-9a-f]{1,6}$/i.test(digits);
  if (!isHex && !/^[0-9]{1,7}$/.test(digits)) return undefined;
  const code = isHex ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10);
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined;
}

/** The text of the first child with this name, or undefined. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}

/** Makes text safe inside an element. */
export function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
