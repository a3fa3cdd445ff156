"""Screenshots as small PNG files: at most 256 colours, chosen by the browser, which is quick with pixels."""

import base64
import struct
import zlib
from typing import Any

from playwright.sync_api import Browser

_CHOOSE = """async (encoded) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${encoded}`)).blob());
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data, counts = new Map();
  const colour = (at) => (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
  for (let at = 0; at < pixels.length; at += 4) counts.set(colour(at), (counts.get(colour(at)) ?? 0) + 1);
  const palette = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 256).map(([value]) => value);
  const away = (one, other) => [16, 8, 0].reduce((sum, bits) => sum + (((one >> bits) & 255) - ((other >> bits) & 255)) ** 2, 0);
  const nearest = new Map(palette.map((value, index) => [value, index]));
  for (const value of counts.keys()) if (!nearest.has(value)) nearest.set(value, palette.reduce((best, one, index) => (away(one, value) < away(palette[best], value) ? index : best), 0));
  const indices = new Uint8Array(image.width * image.height);
  for (let at = 0; at < indices.length; at++) indices[at] = nearest.get(colour(4 * at));
  let text = "";
  for (let at = 0; at < indices.length; at += 32768) text += String.fromCharCode(...indices.subarray(at, at + 32768));
  return { width: image.width, height: image.height, palette, indices: btoa(text) };
}"""


def smaller(browser: Browser, png: bytes) -> bytes:
    """The same picture, as a PNG of a third of the size or less."""
    page = browser.new_page()
    chosen: dict[str, Any] = page.evaluate(_CHOOSE, base64.b64encode(png).decode())
    page.close()
    width, height, indices = chosen["width"], chosen["height"], base64.b64decode(chosen["indices"])
    rows = b"".join(b"\0" + indices[row * width : (row + 1) * width] for row in range(height))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(colour.to_bytes(3, "big") for colour in chosen["palette"])),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
