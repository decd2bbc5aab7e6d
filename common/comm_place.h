/* SPDX-License-Identifier: MIT
 *
 * comm_place.h - where a rank listens, and the file by which rank 0 tells.
 *
 * The file is written whole under another name and renamed, of mode 0600, and has
 * a secret without which nobody is let in.
 */
#ifndef DNAS_COMM_PLACE_H
#define DNAS_COMM_PLACE_H

#include <stdint.h>

#include "common/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define COMM_ADDRESSES 8
#define COMM_SECRET 16 /* bytes that a rank shows; as many more that it is shown */

struct comm_place {
    char machine[64]; /* the same text on one machine alone */
    uint32_t port;
    uint32_t n_addresses;
    char address[COMM_ADDRESSES][48]; /* numeric, those of other machines first */
};

struct comm_notice {
    unsigned char secret[2 * COMM_SECRET];
    int n_ranks;
    struct comm_place place; /* of rank 0 */
};

/* Fills in the machine, and the addresses of its network: DNAS_ADDRESS where that is set. */
int comm_place_here(struct comm_place *p, struct dnas_err *err);
/* Fills in a secret by chance. */
int comm_notice_secret(struct comm_notice *n, struct dnas_err *err);

/* "FOLDER/dnas-JOB.rendezvous"; bytes of the job that names of files had better not have become
 * %XX.  To be freed; NULL with a sentence for a job of too many letters. */
char *comm_notice_path(const char *folder, const char *job, struct dnas_err *err);
/* What was there is replaced. */
int comm_notice_write(const char *path, const struct comm_notice *n, struct dnas_err *err);
/* 1; 0 with the reason in err where there is none (yet) that could be read; -1 for a file of
 * another user. */
int comm_notice_read(struct comm_notice *n, const char *path, struct dnas_err *err);
/* Removes the file, if it is still this one. */
void comm_notice_remove(const char *path, const struct comm_notice *n);

#ifdef __cplusplus
}
#endif
#endif
