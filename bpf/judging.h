/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/* What a look at all descriptors is for, where connections may be written to unseen. */
enum probe_judging {
	JUDGES_NOT,
	JUDGES_DOUBTS, /* what is doubted now is to be judged, and nothing that comes later */
	JUDGES_OTHERS, /* who holds one and is not its owner may have written */
	JUDGES_OWNERS  /* of what nobody else holds it was the owner */
};
