/* SPDX-License-Identifier: MIT
 *
 * version.h - the suite's version; the stream's format version is in stream.h.
 */
#ifndef DNAS_VERSION_H
#define DNAS_VERSION_H

#define DNAS_VERSION "0.1.0"

#endif
