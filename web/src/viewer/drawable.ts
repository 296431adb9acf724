/** What the browser's graphics can draw, asked before a canvas would stay black. */

import { text } from '../text/en'
import type { Scan } from './exam'

/** The browser cannot draw; the message says why and what to do. */
export class CannotDraw extends Error {
  override name = 'CannotDraw'
}

export interface Graphics {
  /** Most voxels along an axis. */
  readonly largestTexture: number
  /** True where the processor draws, for want of a graphics card: slow, but the same. */
  readonly software: boolean
}

/** Asks the browser what its graphics can hold; null where there are none (WebGL 2). */
export function graphics(): Graphics | null {
  const gl = document.createElement('canvas').getContext('webgl2')
  if (!gl) return null
  const details = gl.getExtension('WEBGL_debug_renderer_info')
  const renderer = details ? String(gl.getParameter(details.UNMASKED_RENDERER_WEBGL)) : ''
  const largestTexture = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE) as number
  gl.getExtension('WEBGL_lose_context')?.loseContext()
  return { largestTexture, software: /swiftshader|llvmpipe|software/i.test(renderer) }
}

/** Refuses what cannot be drawn. */
export function refuseUndrawable(found: Graphics | null, scans: readonly Pick<Scan, 'name' | 'grid'>[]): void {
  if (!found) throw new CannotDraw(text.noGraphics)
  for (const { name, grid } of scans) {
    if (Math.max(...grid.shape) > found.largestTexture) throw new CannotDraw(text.tooLarge(name, grid.shape, found.largestTexture))
  }
}
